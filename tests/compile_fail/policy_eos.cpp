// expect: `end_tokens\(\)`, which returns a tq::token_view: nobody asks for one end token
#include <tq/concepts/policy.hpp>

struct model {
    std::size_t vocab_size() { return 2; }
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
    [[nodiscard]] tq::token_id eos() const { return 1; }
};

static_assert(tq::explain_policy<model>());
