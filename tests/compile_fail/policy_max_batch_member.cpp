// expect: `max_batch\(\)` of a policy must be const and return an integer
#include <tq/concepts/policy.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
    std::size_t max_batch = 8;
};

static_assert(tq::explain_policy<model>());
