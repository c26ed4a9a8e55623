#pragma once
// The soft value of one candidate, from the weights of its rollouts.

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>
#include <vector>

#include "../concepts/estimator.hpp"
#include "../core/error.hpp"
#include "../kernels/moments.hpp"
#include "importance.hpp"
#include "mean.hpp"
#include "normalise.hpp"

namespace tq {

/// Options of soft_estimate.
struct soft_options {
    /// Strength of the regularisation, in units of the reward; (0, inf). Decoding with alpha = beta
    /// is then the optimum of E[r] - beta KL(. || policy).
    double beta = 0.1;

    /// Takes out the bias of the logarithm of a mean, to order 1 / n. false = no-op.
    bool jackknife = false;

    /// weighting::reference means nothing here; plain and self_normalised are the same.
    weight_options weights = {};
};

/// Throws invalid_option unless every field is in range.
inline void validate(const soft_options& options, std::string_view where) {
    check_option(options.beta > 0 && std::isfinite(options.beta), where, "beta", options.beta,
                 "in (0, inf)");
    check_option(options.weights.form != weighting::reference, where, "weights.form",
                 options.weights.form, "another: the authors' program has no soft value");
    validate(options.weights, where);
}

namespace detail {

/// The positive ones of n weights, and what follows from their number m: log(m / n) and its
/// variance.
struct positive_weights {
    std::vector<double> logs;
    double n = 0;

    explicit positive_weights(std::span<const double> log_weights)
        : n{static_cast<double>(log_weights.size())} {
        for (const double value : log_weights)
            if (value > -infinity) logs.push_back(value);
    }
    [[nodiscard]] double m() const noexcept { return static_cast<double>(logs.size()); }
    [[nodiscard]] double log_share() const noexcept { return std::log(m() / n); }
    [[nodiscard]] double log_share_variance() const noexcept {
        return n < 2 ? 0 : n / (n - 1) * (1 / m() - 1 / n);
    }
};

/// log(m / n) + log(mean of w^power over the m positive weights) / power: log mean w if power = 1.
[[nodiscard]] inline value_estimate log_mean(std::span<const double> log_weights, double power,
                                             bool jackknife) {
    const positive_weights positive{log_weights};
    value_estimate result = no_value(log_weights.size());
    if (positive.logs.empty()) return result;
    const std::vector<double> shares = shares_of(positive.logs, power);
    const double top = largest_of(positive.logs);
    const double largest = largest_of(shares);  // = 1 / sum exp(power (log w - top))
    const double n = positive.n, m = positive.m();
    const auto value = [&](double size, double kept, double log_factor) {
        return std::log(kept / size) + (log_factor - std::log(largest) - std::log(kept)) / power;
    };
    result.q = std::isinf(top) ? top : top + value(n, m, 0);
    if (std::isinf(top) || largest > 1 - 1e-12) return result;  // one rollout is all there is

    const double squares = moments_of(shares).squares;  // around their mean, 1 / m
    result.standard_error =
        std::sqrt(n / (n - 1) * squares / power / power + positive.log_share_variance());
    if (!jackknife) return result;
    double left_out = (n - m) * value(n - 1, m, 0);
    for (const double share : shares) left_out += value(n - 1, m - 1, std::log1p(-share));
    result.q = top + n * (result.q - top) - (n - 1) * left_out / n;
    return result;
}

/// log(m / n) + the mean of log w over the m positive weights: where log_mean goes as power -> 0.
[[nodiscard]] inline value_estimate mean_log(std::span<const double> log_weights) {
    const positive_weights positive{log_weights};
    value_estimate result = no_value(log_weights.size());
    if (positive.logs.empty()) return result;
    const double top = largest_of(positive.logs);
    if (std::isinf(top)) result.q = top;
    if (std::isinf(top)) return result;
    const value_estimate mean = mean_estimate(positive.logs);
    result.q = positive.log_share() + mean.q;
    if (std::isfinite(mean.standard_error))
        result.standard_error =
            std::hypot(mean.standard_error, std::sqrt(positive.log_share_variance()));
    return result;
}

}  // namespace detail

/// Soft transfer:
///
///     Q_soft(s, z) = beta log E_{tau ~ rho_pi}[exp(r / beta)] ~ beta log (1/n) sum_k w_k
///
/// with log w_k = implicit_log_weight of rollouts of a baseline (or of a mixture, or of the policy
/// itself, where it is r / beta). With alpha = beta and the policy as prior, decoding with it is
/// the optimum rho_r of the regularised objective, which the hard expectation is not. If the
/// baseline is that optimum, every weight is the same and one rollout gives the exact value.
///
/// With the *baseline* as prior and log w_k = explicit_log_weight the same estimate is that of
/// pi*(z|s) ∝ rho_BL(z|s) E_BL[exp((r - r_BL) / beta) | s, z]: the baseline itself when r = r_BL.
/// The two differ by a constant of each candidate: don't mix them.
///
/// Bias: the logarithm of a mean is low, by beta var(w) / (2 n mean(w)^2) =
/// beta (n/ESS - 1) / (2 n) to first order; `jackknife` removes that order (not where one rollout
/// is all there is).
/// Tempered weights of power p give beta / p log mean w^p, which is smaller still but less noisy;
/// unweighted ones beta mean log w = E_BL[r] - beta KL(rho_BL || rho_pi), the lower bound that p ->
/// 0 leads to. All are exact for the exact baseline. Which of them is used, and what happens when
/// weights collapse, is as in choose_weights, with soft_guard as the default rule. The error does
/// not count the bias. Candidates of one state should share a power: see soft.
///
/// Source: log C_r(s, z) of arXiv 2405.20495's aligned baseline; also Q# (arXiv 2502.20548).
/// Tempered bound: Li and Turner, "Renyi divergence variational inference", NeurIPS 2016.
///
/// shapes: log_weights [n], independent draws given u
/// edges:  n = 0 or any NaN -> refused, q = -inf. n = 1 -> beta log w, error unknown. All weights 0
///         -> q = -inf (the value of an impossible optimum), collapsed. A weight of +inf -> q =
///         +inf
/// errors: invalid_option for options out of range
/// cost:   as importance_estimate
[[nodiscard]] inline value_estimate soft_estimate(std::span<const double> log_weights,
                                                  const soft_options& options) {
    validate(options, "soft_estimate");
    const chosen_weights chosen = choose_weights(log_weights, options.weights, soft_guard);
    const weight_diagnostics& weights = chosen.diagnostics;
    if (weights.refused) return detail::refused(log_weights.size(), weights);
    value_estimate result =
        weights.power == 0 ? detail::mean_log(chosen.log_weights)
                           : detail::log_mean(chosen.log_weights, weights.power, options.jackknife);
    if (weights.collapsed && options.weights.on_collapse == collapse_action::widen)
        result.standard_error =
            (std::max)(result.standard_error,
                       std::isfinite(result.q)
                           ? detail::widened(result, detail::mean_log(log_weights), weights.ess)
                           : detail::infinity);
    result.q *= options.beta;
    result.standard_error *= options.beta;
    if (std::isnan(result.q)) return detail::refused(log_weights.size(), weights);
    result.weights = weights;
    return result;
}

}  // namespace tq
