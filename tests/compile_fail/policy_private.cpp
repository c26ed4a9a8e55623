// expect: tq: a policy needs `vocab_size\(\)` returning the number of tokens, public
#include <tq/concepts/policy.hpp>

class model {
    std::size_t vocab_size() { return 2; }
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
};

static_assert(tq::explain_policy<model>());
