#pragma once
// Rewards that are easy to reckon with.

#include <tq/concepts/reward.hpp>

namespace tq::test {

/// The share of even tokens: a reward in [0, 1]; an empty answer earns 0.
struct even_reward {
    double operator()(token_view, token_view answer) const {
        double even = 0;
        for (const token_id token : answer) even += token % 2 == 0;
        return answer.empty() ? 0 : even / static_cast<double>(answer.size());
    }
    [[nodiscard]] static reward_range range() { return {0, 1}; }
};

}  // namespace tq::test
