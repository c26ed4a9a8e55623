#pragma once
// The plain Monte Carlo mean and its standard error.

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "../concepts/estimator.hpp"
#include "../kernels/moments.hpp"

namespace tq {

/// Q = mean of the rewards; standard error = sample standard deviation / sqrt(n).
///
/// shapes:  rewards [n], independent draws
/// returns: rollouts = n; with n = 1 the standard error is NaN (one draw tells no spread), with
///          n = 0 both are NaN
/// Source: the direct transfer estimate of TQ*, arXiv 2405.20495.
[[nodiscard]] inline value_estimate mean_estimate(std::span<const double> rewards) noexcept {
    constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
    if (rewards.empty()) return {.q = unknown, .standard_error = unknown};
    const auto n = static_cast<double>(rewards.size());
    const moments found = moments_of(rewards);
    const double error = n < 2 ? unknown : std::sqrt(found.squares / (n - 1) / n);
    return {.q = found.mean, .standard_error = error, .rollouts = rewards.size(), .spent = {}};
}

/// The estimator of direct transfer: Q is the mean reward. Models piecewise_estimator.
struct mean {
    /// Rewards that are not there yet bound it.
    static constexpr bool piecewise = true;

    /// mean_estimate of the rewards.
    [[nodiscard]] value_estimate estimate(std::span<const double> rewards,
                                          std::span<const double> /*log_weights*/) const noexcept {
        return mean_estimate(rewards);
    }
    /// That of the rewards.
    [[nodiscard]] reward_range range(reward_range rewards) const noexcept { return rewards; }
};

}  // namespace tq
