// expect: tq: a reward needs `score\(std::span<const tq::answer_view>, std::span<double>\)`
#include <tq/concepts/reward.hpp>

class judge {
    double operator()(tq::token_view, tq::token_view) const { return 0; }
};

static_assert(tq::explain_reward<judge>());
