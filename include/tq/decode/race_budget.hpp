#pragma once
// What a step's look-ahead may cost.

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "../core/trajectory.hpp"
#include "options.hpp"

namespace tq {

/// Model tokens that look-ahead may cost in this step: the part of the answer's budget that is open
/// by now, less what has been spent; >= 0.
[[nodiscard]] inline double step_budget(const decode_options& options, const decode_state& state) {
    if (std::isinf(options.token_budget)) return options.token_budget;
    const auto position = static_cast<double>(state.answer().size());
    const double length = position + static_cast<double>(state.tokens_left);
    const double open = std::pow((position + 1) / length, 1 / options.budget_front);
    return (std::max)(0.0, options.token_budget * length * open - static_cast<double>(state.spent));
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
