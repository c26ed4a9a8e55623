// expect: tq: a reward needs `score\(std::span<const tq::answer_view>, std::span<double>\)`
#include <tq/concepts/reward.hpp>

struct judge {
    double score(tq::token_view) { return 0; }
};

static_assert(tq::explain_reward<judge>());
