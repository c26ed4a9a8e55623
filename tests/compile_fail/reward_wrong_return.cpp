// expect: tq: a reward called with \(prompt, answer\) must return a number
#include <string>
#include <tq/concepts/reward.hpp>

struct judge {
    std::string operator()(tq::token_view, tq::token_view) { return "good"; }
};

static_assert(tq::explain_reward<judge>());
