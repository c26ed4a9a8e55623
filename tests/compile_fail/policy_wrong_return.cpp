// expect: tq: `next_logits` of a policy must return a std::span<const tq::logits_view>
#include <tq/concepts/policy.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    tq::logits_view next_logits(std::span<const tq::token_view>) { return {}; }
};

static_assert(tq::explain_policy<model>());
