#pragma once
// estimator: from judged futures to Q.

#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>

#include "../core/model_tokens.hpp"
#include "reward.hpp"
#include "weight_diagnostics.hpp"

namespace tq {

/// An estimate of Q(s, z).
struct value_estimate {
    double q = 0;  ///< in units of the reward
    /// Standard error of `q`: 0 = exact, NaN or +inf = unknown (a single rollout tells no spread).
    double standard_error = std::numeric_limits<double>::quiet_NaN();
    std::size_t rollouts = 0;  ///< how many rollouts it rests on; 0 = none were needed
    model_tokens spent = {};   ///< what it cost
    /// Of estimates from weighted rollouts: what the weights were like.
    std::optional<weight_diagnostics> weights = {};
};

/// What the rollouts of one candidate gave.
struct judged_candidate {
    std::span<const double> rewards;      ///< [n]
    std::span<const double> log_weights;  ///< [n] if the estimator has weights(), else empty
};

/// Makes Q(s, z) of the rewards of n rollouts that continue [s, z].
///
/// Requirements:
///  1. `estimate(rewards, log_weights)` is the value_estimate of n >= 1 rewards, independent draws.
///     log_weights has as many entries where the estimator has weights(), and none elsewhere.
///  2. `range(rewards)` is the interval that every such Q lies in if every reward lies in the given
///     one; infinite if nothing is known. A race drops candidates by it.
///  3. q is finite, or -inf for a candidate that must not be chosen; never NaN.
///
/// Optional:
///  * a static `piecewise` that is true: Q is the plain mean of the rewards, so that those that are
///    not there yet bound it, and it can be asked for piece by piece.
///  * `weights()`: a reference to what weighs the rollouts (rollout_weights, in transfer/).
///  * `estimate_together(candidates, rewards, values)` values all candidates of a state at once,
///    where they share something: a span of judged_candidate, the range of the rewards, and the
///    value_estimates to be filled.
///  * `weighs_endings()`: also candidates that need no rollout are weighed and estimated. Otherwise
///    they are worth their reward.
///
/// Models: mean, importance, soft. One of your own is ten lines:
/// examples/ladder/14_own_estimator.cpp.
template <class Estimator>
concept estimator = requires(Estimator& estimator, std::span<const double> rewards,
                             std::span<const double> log_weights, reward_range range) {
    { estimator.estimate(rewards, log_weights) } -> std::convertible_to<value_estimate>;
    { estimator.range(range) } -> std::convertible_to<reward_range>;
};

/// An estimator whose Q is the mean of the rewards.
template <class Estimator>
concept piecewise_estimator = estimator<Estimator> && requires {
    requires Estimator::piecewise;
};

/// An estimator that wants its rollouts weighed.
template <class Estimator>
concept weighted_estimator = estimator<Estimator> && requires(Estimator& estimator) {
    estimator.weights();
};

}  // namespace tq
