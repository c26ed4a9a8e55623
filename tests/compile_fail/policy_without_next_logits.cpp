// expect: tq: a policy needs `next_logits\(std::span<const tq::token_view>\)`
#include <tq/concepts/policy.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    tq::logits_view next_logits(tq::token_view) { return {}; }  // one sequence at a time
};

static_assert(tq::explain_policy<model>());
