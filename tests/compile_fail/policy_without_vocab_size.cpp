// expect: tq: a policy needs `vocab_size\(\)` returning the number of tokens
#include <tq/concepts/policy.hpp>

struct model {
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
};

static_assert(tq::explain_policy<model>());
