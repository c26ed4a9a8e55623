// expect: tq: a reward needs `score\(std::span<const tq::answer_view>, std::span<double>\)`
#include <tq/concepts/reward.hpp>

struct judge {
    double operator()(std::string_view, std::string_view) const { return 0; }
};

static_assert(tq::explain_reward<judge>());
