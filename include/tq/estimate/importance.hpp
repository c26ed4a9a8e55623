#pragma once
// Indirect transfer: Q from rollouts of a baseline that was aligned to something else.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/estimator.hpp"
#include "../core/error.hpp"
#include "../kernels/moments.hpp"
#include "mean.hpp"
#include "normalise.hpp"

namespace tq {

namespace detail {

/// What is said where there is no estimate: q = -inf, the candidate must not be chosen.
[[nodiscard]] inline value_estimate no_value(std::size_t rollouts) noexcept {
    return {.q = -infinity, .standard_error = infinity, .rollouts = rollouts};
}

/// An estimate that there is not, `weights` saying why.
[[nodiscard]] inline value_estimate refused(std::size_t rollouts,
                                            weight_diagnostics weights) noexcept {
    value_estimate result = no_value(rollouts);
    weights.refused = true;
    result.weights = weights;
    return result;
}

/// sum share r and its delta-method error; rollouts with share 0 are not read.
[[nodiscard]] inline value_estimate weighted_mean(std::span<const double> rewards,
                                                  std::span<const double> shares) noexcept {
    const moments found = moments_of(rewards, shares);
    value_estimate result{.q = found.mean, .standard_error = infinity, .rollouts = rewards.size()};
    if (found.positive < 2 || !std::isfinite(result.q)) return result;
    const auto n = static_cast<double>(found.positive);
    result.standard_error = std::sqrt(n / (n - 1) * found.squares);
    return result;
}

/// sum exp(log w) r / n, with the largest weight taken out so that only the result can overflow.
[[nodiscard]] inline value_estimate plain_mean(std::span<const double> rewards,
                                               std::span<const double> log_weights) {
    const double top = largest_of(log_weights);
    if (top == -infinity) return {.q = 0, .standard_error = infinity, .rollouts = rewards.size()};
    std::vector<double> products;
    for (std::size_t i = 0; i < rewards.size(); ++i)
        products.push_back(
            log_weights[i] == -infinity ? 0.0 : std::exp(log_weights[i] - top) * rewards[i]);
    value_estimate result = mean_estimate(products);
    const auto scaled = [&](double x) { return x == 0 || std::isinf(x) ? x : x * std::exp(top); };
    result.q = scaled(result.q);
    result.standard_error =
        std::isnan(result.standard_error) ? infinity : scaled(result.standard_error);
    return result;
}

/// mean_estimate of the rollouts whose weight is not 0 (of all, if there are none), with +inf for
/// an unknown error.
[[nodiscard]] inline value_estimate unweighted_mean(std::span<const double> rewards,
                                                    std::span<const double> log_weights) {
    const bool all = positive_count(log_weights) == 0;
    std::vector<double> kept;
    for (std::size_t i = 0; i < rewards.size(); ++i)
        if (all || log_weights[i] > -infinity) kept.push_back(rewards[i]);
    value_estimate result = mean_estimate(kept);
    if (!std::isfinite(result.standard_error)) result.standard_error = infinity;
    result.rollouts = rewards.size();
    return result;
}

/// The error that collapse_action::widen gives: as large as that of ess unweighted rollouts, and as
/// the distance to the unweighted estimate.
[[nodiscard]] inline double widened(const value_estimate& value, const value_estimate& unweighted,
                                    double ess) noexcept {
    const double spread =
        unweighted.standard_error *
        std::sqrt(static_cast<double>(unweighted.rollouts) / (std::max)(ess, 1.0));
    return (std::max)({value.standard_error, spread, std::abs(value.q - unweighted.q)});
}

/// Did the default rule (not a form or fall-back that was asked for) take power off the weights?
[[nodiscard]] inline bool guarded(const weight_diagnostics& weights,
                                  const weight_options& options) noexcept {
    return options.form == weighting::self_normalised && weights.ess > 0 && weights.positive > 1 &&
           (weights.used == weighting::tempered ||
            (weights.used == weighting::unweighted &&
             !(weights.collapsed && options.on_collapse == collapse_action::unweighted)));
}

}  // namespace detail

/// Indirect transfer: the value under the optimum of r, from rollouts of a baseline,
///
///     Q(s, z) = sum_k w_k r_k / sum_k w_k        (self_normalised; other forms: see weighting)
///
/// The standard error is the delta method's, with the sample factor n / (n - 1): that of
/// mean_estimate where weights are equal. It knows nothing of the bias of self_normalised, which
/// falls as 1 / n.
///
/// With the default options the estimate follows the weights only as far as importance_guard allows
/// (see form_of_estimate): with few rollouts or wild weights it is nearer to the unweighted mean,
/// which is biased but far less noisy. What that takes off the value, as far as the rollouts tell,
/// is part of the error then: error^2 = variance + (self-normalised value - value)^2.
///
/// The diagnostics see weights that are uneven, not those that are missing: a baseline that never
/// visits what r wants gives even weights and a wrong Q. Rollouts of the policy itself in the
/// mixture (balance_log_probability) are the cure.
///
/// Source: self-normalised importance sampling of TQ*, arXiv 2405.20495 (indirect transfer); delta
/// method: Owen, "Monte Carlo theory, methods and examples", chapter 9.
///
/// shapes: rewards, log_weights [n], of the same rollouts, independent draws given u
/// returns: q is never NaN, -inf if refused; its error is never NaN either: +inf = unknown;
///          `weights` is set
/// edges:  n = 0, any NaN, or a sum that is none -> refused, q = -inf. n = 1 -> q is the reward
///         (the weight cancels) and the error unknown. All weights 0 -> the unweighted mean,
///         collapsed. A reward whose weight is 0 is not read (it may be -inf). Weights of +inf
///         share all among them (without guard). Where all but one share is 0 the error is unknown,
///         not 0.
/// errors: invalid_option for options out of range or sizes that differ
/// cost:   O(n log n) with 40 passes of n exponentials if tempered; a few allocations. Thread-safe.
[[nodiscard]] inline value_estimate importance_estimate(std::span<const double> rewards,
                                                        std::span<const double> log_weights,
                                                        const weight_options& options = {}) {
    check_option(rewards.size() == log_weights.size(), "importance_estimate", "log_weights.size()",
                 log_weights.size(), "rewards.size() = " + std::to_string(rewards.size()));
    const chosen_weights chosen = choose_weights(log_weights, options);
    const weight_diagnostics& weights = chosen.diagnostics;
    if (weights.refused || detail::any_nan(rewards))
        return detail::refused(rewards.size(), weights);
    value_estimate result;
    if (weights.used == weighting::plain || weights.used == weighting::reference)
        result = detail::plain_mean(rewards, chosen.log_weights);
    else if (weights.used == weighting::unweighted)
        result = detail::unweighted_mean(rewards, log_weights);
    else
        result =
            detail::weighted_mean(rewards, detail::shares_of(chosen.log_weights, weights.power));
    if (detail::guarded(weights, options))
        result.standard_error = std::hypot(
            result.standard_error,
            detail::weighted_mean(rewards, detail::shares_of(log_weights, 1)).q - result.q);
    if (weights.collapsed && options.on_collapse == collapse_action::widen &&
        weights.used != weighting::reference)
        result.standard_error =
            detail::widened(result, detail::unweighted_mean(rewards, log_weights), weights.ess);
    if (std::isnan(result.q))  // infinite rewards of both signs
        return detail::refused(rewards.size(), weights);
    result.weights = weights;
    return result;
}

/// The estimator of indirect transfer: importance_estimate of rollouts that Weights weighs
/// (rollout_weights). An lvalue is held by reference and must outlive it, an rvalue is moved in.
template <class Weights>
class importance {
public:
    /// Throws invalid_option if an option is out of range.
    explicit importance(Weights&& weights, weight_options options = {},
                        std::string_view where = "importance")
        : weights_(std::forward<Weights>(weights)),
          options_{options} {
        validate(options, where);
    }

    /// See importance_estimate.
    [[nodiscard]] value_estimate estimate(std::span<const double> rewards,
                                          std::span<const double> log_weights) const {
        return importance_estimate(rewards, log_weights, options_);
    }

    /// That of the rewards, unless the form is plain or reference; open below if a collapse
    /// refuses.
    [[nodiscard]] reward_range range(reward_range rewards) const noexcept {
        if (options_.form == weighting::plain || weighs_endings()) return {};
        if (options_.on_collapse == collapse_action::refuse) rewards.lo = -detail::infinity;
        return rewards;
    }

    /// The authors' program weighs everything.
    [[nodiscard]] bool weighs_endings() const noexcept {
        return options_.form == weighting::reference;
    }
    [[nodiscard]] auto& weights() noexcept { return weights_; }

private:
    Weights weights_;
    weight_options options_;
};

template <class Weights>
importance(Weights&&, weight_options = {}) -> importance<Weights>;

}  // namespace tq
