#pragma once
// What a step's look-ahead may cost.

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "../core/trajectory.hpp"
#include "options.hpp"

namespace tq {

/// Model tokens that look-ahead may cost in this step: half of what is left of the answer's budget,
/// or two rollouts of `cost` model tokens if those are more and are left. So the first decisions,
/// which the rest of the answer hangs on, come first, however long the answer; >= 0.
[[nodiscard]] inline double step_budget(const decode_options& options, const decode_state& state,
                                        double cost) {
    if (std::isinf(options.token_budget)) return options.token_budget;
    const auto length = static_cast<double>(state.answer().size() + state.tokens_left);
    const double left =
        (std::max)(0.0, options.token_budget * length - static_cast<double>(state.spent));
    return (std::max)(left / 2, (std::min)(left, 2 * cost));
}

namespace detail {

/// Rollouts of n contenders whose worse half leaves after each round, one each a round at least and
/// `each` at most.
[[nodiscard]] inline std::size_t halving_cost(std::size_t n, std::size_t each) noexcept {
    std::size_t sum = 0;
    for (std::size_t round = 0; n > 1 && round < each; ++round, n = (n + 1) / 2) sum += n;
    return sum;
}

}  // namespace detail

}  // namespace tq
