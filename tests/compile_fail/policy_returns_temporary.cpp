// expect: or a reference to a container of them, not one that is gone after the call
#include <tq/concepts/policy.hpp>

#include <vector>

struct model {
    std::size_t vocab_size() { return 2; }
    std::vector<tq::logits_view> next_logits(std::span<const tq::token_view>) { return {}; }
};

static_assert(tq::explain_policy<model>());
