// expect: `next_logits\(std::span<const tq::token_view>\)`, public
#include <tq/concepts/policy.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    std::span<const tq::logits_view> next_logits(const std::vector<tq::token_list>&) { return {}; }
};

static_assert(tq::explain_policy<model>());
