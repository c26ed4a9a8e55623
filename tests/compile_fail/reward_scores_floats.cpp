// expect: tq: a reward needs `score\(std::span<const tq::answer_view>, std::span<double>\)`
#include <tq/concepts/reward.hpp>

struct judge {
    void score(std::span<const tq::answer_view>, std::span<float>) {}
};

static_assert(tq::explain_reward<judge>());
