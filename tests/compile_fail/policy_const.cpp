// expect: tq: this policy is const and its members are not
#include <tq/concepts/policy.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
};

static_assert(tq::explain_policy<const model>());
