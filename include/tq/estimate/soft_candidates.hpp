#pragma once
// Soft values of all candidates of one state, estimated together.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "../concepts/estimator.hpp"
#include "mean.hpp"
#include "normalise.hpp"
#include "soft_estimate.hpp"

namespace tq {

namespace detail {

/// Rollouts of one candidate as weights w and density ratios v = w exp(-r / beta), each over its
/// mean.
class controlled_weights {
public:
    controlled_weights(const judged_candidate& candidate, double beta)
        : log_w_{candidate.log_weights},
          log_v_(log_w_.size()) {
        for (std::size_t i = 0; i < log_w_.size(); ++i)
            log_v_[i] =
                log_w_[i] == -infinity ? -infinity : log_w_[i] - candidate.rewards[i] / beta;
        log_mean_w_ = log_mean(log_w_, 1, false).q;
        log_mean_v_ = log_mean(log_v_, 1, false).q;
        usable_ = std::isfinite(log_mean_w_) && std::isfinite(log_mean_v_) &&
                  std::ranges::none_of(candidate.rewards, [](double r) { return std::isinf(r); });
    }

    /// log mean w - share log mean v, and its standard error.
    [[nodiscard]] value_estimate value(double share) const {
        value_estimate result = no_value(log_w_.size());
        result.q = usable_ ? log_mean_w_ - share * log_mean_v_ : log_mean_w_;
        if (!usable_ || log_w_.size() < 2) return result;
        std::vector<double> residuals;
        for (std::size_t i = 0; i < log_w_.size(); ++i) residuals.push_back(w(i) - share * v(i));
        result.standard_error = mean_estimate(residuals).standard_error;
        return result;
    }

    /// Adds to the sums of a regression of w on v, and of log w on log v.
    void regress(double (&cross)[2], double (&square)[2]) const {
        if (!usable_ || log_w_.size() < 2) return;
        constexpr double alike = 1e-4;  // ratios that differ by less than 1 % tell nothing
        double mean_w = 0, mean_v = 0, count = 0;
        for (std::size_t i = 0; i < log_w_.size(); ++i) {
            if (log_w_[i] == -infinity) continue;
            mean_w += log_w_[i], mean_v += log_v_[i], ++count;
        }
        for (std::size_t i = 0; i < log_w_.size(); ++i) {
            cross[0] += (w(i) - 1) * (v(i) - 1);
            square[0] += (v(i) - 1) * (v(i) - 1) + alike;
            if (log_w_[i] == -infinity) continue;
            const double x = log_v_[i] - mean_v / count;
            cross[1] += (log_w_[i] - mean_w / count) * x;
            square[1] += x * x + alike;
        }
    }

private:
    [[nodiscard]] double w(std::size_t i) const { return std::exp(log_w_[i] - log_mean_w_); }
    [[nodiscard]] double v(std::size_t i) const { return std::exp(log_v_[i] - log_mean_v_); }

    std::span<const double> log_w_;
    std::vector<double> log_v_;
    double log_mean_w_ = 0, log_mean_v_ = 0;
    bool usable_ = false;  // is there a control variate?
};

}  // namespace detail

/// Soft values of the candidates of one state from density ratios, estimated together:
///
///     Q(z) = beta (log mean w - share log mean v),   v = w exp(-r / beta) = rho_pi / rho_BL
///
/// The mean of v is 1, so it is a control variate. `share`, one for all candidates, is how much of
/// w follows v: 0 for the exact baseline, whose w are all alike, and near 1 for one that is noisy,
/// where log mean w alone is low by var(w) / 2 n and prefers candidates that end the answer, whose
/// value is exact. It is the smaller of two least-squares coefficients over all rollouts of the
/// state, of w on v and of log w on log v: few rollouts overstate either. Values are kept to the
/// reward's range, which holds the true ones. With one rollout, share is 0.
///
/// Bias: the true value is what it tends to; with n rollouts differences of Q are off by about
/// (1 - share) of what soft_estimate states, and for spreads of r / beta beyond 10 by the opposite
/// part, towards the baseline's own reward (benchmarks/estimators, soft_end_bias).
/// shapes: candidates, values [k], k >= 1; each with n >= 1 rollouts
/// edges:  all weights of a candidate 0 -> q = -inf; an infinite reward -> no control for it
/// cost:   O(all rollouts)
inline void controlled_soft_values(std::span<const judged_candidate> candidates, double beta,
                                   reward_range rewards, std::span<value_estimate> values) {
    std::vector<detail::controlled_weights> weights;
    double cross[2] = {0, 0}, square[2] = {0, 0};
    for (const judged_candidate& candidate : candidates)
        weights.emplace_back(candidate, beta).regress(cross, square);
    double share = 1;
    for (const int i : {0, 1}) {
        const double coefficient = cross[i] / square[i];  // NaN: nothing to learn from
        share = coefficient > 0 ? (std::min)(coefficient, share) : 0.0;
    }
    for (std::size_t j = 0; j < candidates.size(); ++j) {
        values[j] = weights[j].value(share);
        values[j].q *= beta;
        values[j].standard_error *= beta;
        if (values[j].q > -detail::infinity)
            values[j].q = std::clamp(values[j].q, rewards.lo, rewards.hi);
    }
}

/// Soft values of the candidates of one state from weights of unknown mean, with one power for all
/// of them: the least that soft_guard allows any candidate. What tempering takes off the values of
/// candidates with rollouts, log mean exp(log w - value) over all of them, is put on again: the
/// others, which end the answer, lose nothing by it.
///
/// Bias: low, as soft_estimate's at full power. shapes, edges, cost: as controlled_soft_values.
/// Returns the power.
inline double tempered_soft_values(std::span<const judged_candidate> candidates, double beta,
                                   std::span<value_estimate> values) {
    double power = 1;
    for (const judged_candidate& candidate : candidates)
        if (candidate.log_weights.size() > 1) {
            const weight_diagnostics d =
                choose_weights(candidate.log_weights, {}, soft_guard).diagnostics;
            if (!d.refused && d.positive > 0) power = (std::min)(power, d.power);
        }
    std::vector<double> residuals;
    for (std::size_t j = 0; j < candidates.size(); ++j) {
        const std::span<const double> logs = candidates[j].log_weights;
        values[j] = power == 0 ? detail::mean_log(logs) : detail::log_mean(logs, power, false);
        if (std::isnan(values[j].q)) values[j] = detail::no_value(logs.size());
        if (logs.size() > 1 && std::isfinite(values[j].q))
            for (const double log_w : logs)
                if (log_w - values[j].q < detail::infinity)
                    residuals.push_back(log_w - values[j].q);
    }
    const double lost = residuals.empty() ? 0 : detail::log_mean(residuals, 1, false).q;
    for (std::size_t j = 0; j < candidates.size(); ++j) {
        if (candidates[j].log_weights.size() > 1 && std::isfinite(values[j].q)) values[j].q += lost;
        values[j].q *= beta;
        values[j].standard_error *= beta;
    }
    return power;
}

}  // namespace tq
