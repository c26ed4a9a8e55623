// expect: tq: this reward is const and its members are not
#include <tq/concepts/reward.hpp>

struct judge {
    double operator()(tq::token_view, tq::token_view) { return 0; }
};

static_assert(tq::explain_reward<const judge>());
