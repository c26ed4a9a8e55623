// expect: `range\(\)` of a reward must be const and return a tq::reward_range
#include <tq/concepts/reward.hpp>

struct judge {
    double operator()(tq::token_view, tq::token_view) const { return 0; }
    tq::reward_range range{0, 1};
};

static_assert(tq::explain_reward<judge>());
