#pragma once
// The closed form: log p = log pi + Q / alpha - log Z.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "eigen.hpp"
#include "log_sum_exp.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// Q / alpha, the logit that a tilt adds. alpha = inf: 0, but -inf for a Q of -inf, which is never
/// chosen.
/// range: alpha in (0, inf]
[[nodiscard]] inline double tilt_of_q(double q, double alpha) noexcept {
    if (std::isinf(alpha)) return q == -std::numeric_limits<double>::infinity() ? q : 0.0;
    return q / alpha;
}

/// Tilts a distribution by exp(Q / alpha) and normalises it over the given entries.
///
///     log_p[i] = log_pi[i] + q[i] / alpha - log Z,   Z = sum_j exp(log_pi[j] + q[j] / alpha)
///
/// Source: the closed-form solution of max_p E_p[Q] - alpha KL(p || pi), arXiv 2405.20495. Only
/// differences of Q matter, so the largest is subtracted first: q / alpha never overflows upwards.
///
/// shapes:   log_pi, q, log_p [n]; log_p may be the same memory as log_pi or q
/// range:    alpha in (0, inf]; inf = no tilt (log_p is log_pi, renormalised)
/// returns:  log Z (may overflow to +-inf where max Q / alpha does); -inf if nothing is possible
/// edges:    log_pi = -inf or q = -inf -> log_p = -inf, but if every possible entry has q = -inf
///           they are treated as equal; q = +inf takes all; NaN in either -> that entry's log_p is
///           -inf; n = 0 or no possible entry -> all -inf; log_pi = +inf is no log-probability: NaN
/// error:    at most 1e-12 absolute in log_p against long double for |q / alpha| up to 1e3
/// cost:     O(n), n exponentials; no allocation. Thread-safe.
inline double tilt(std::span<const double> log_pi, std::span<const double> q, double alpha,
                   std::span<double> log_p) noexcept {
    using kernel_detail::eight, kernel_detail::load_eight, kernel_detail::infinity;
    double top = -infinity;  // the largest Q of a possible entry
    bool any = false;
    for (std::size_t i = 0; i < q.size(); ++i)
        if (log_pi[i] > -infinity && !std::isnan(q[i])) {
            top = (std::max)(top, q[i]);
            any = true;
        }

    double largest = -infinity;
    for (std::size_t i = 0; i < q.size(); i += 8) {
        const eight prior = load_eight(log_pi, i, -infinity), value = load_eight(q, i, -infinity);
        eight tilted = prior + (value - top) / alpha;
        for (std::size_t j = 0; j < 8; ++j) {
            double& x = tilted.data()[j];
            if (value.data()[j] == top) x = prior.data()[j];  // infinite ones, too
            if (std::isnan(x) || !(prior.data()[j] > -infinity)) x = -infinity;
            largest = (std::max)(largest, x);
        }
        kernel_detail::store_eight(tilted, log_p, i);
    }
    if (!any) return -infinity;
    // The largest is taken out first: beside a prior of -1e30, as some engines mask with, the
    // logarithm of a sum would be lost.
    const double log_z = std::log(kernel_detail::sum_of_exp(log_p, largest, 1));
    for (double& value : log_p) value = value - largest - log_z;
    return log_z + largest + (std::isinf(top) && std::isinf(alpha) ? 0.0 : tilt_of_q(top, alpha));
}

/// Kullback-Leibler divergence KL(p || pi) = sum_i p_i (log p_i - log pi_i), in nats.
///
/// pi need not be normalised over the entries: with pi over the whole vocabulary and p over a few
/// candidates this is the divergence on the whole vocabulary.
///
/// shapes: log_p, log_pi [n]
/// edges:  entries with p_i = 0 count 0, whatever pi_i; p_i > 0 where pi_i = 0 -> +inf; n = 0 -> 0;
///         NaN where p_i > 0 -> NaN.
///         Rounding can leave a tiny negative number where p = pi: it is clamped to 0 there.
/// cost:   O(n); no allocation. Thread-safe.
[[nodiscard]] inline double kl_divergence(std::span<const double> log_p,
                                          std::span<const double> log_pi) noexcept {
    using kernel_detail::eight, kernel_detail::load_eight, kernel_detail::infinity;
    eight sums = eight::Zero();
    for (std::size_t i = 0; i < log_p.size(); i += 8) {
        const eight log = load_eight(log_p, i, -infinity);
        const eight p = kernel_detail::exp_of(log);
        eight part = p * (log - load_eight(log_pi, i, 0));
        for (std::size_t j = 0; j < 8; ++j)
            if (p.data()[j] == 0) part.data()[j] = 0;
        sums += part;
    }
    const double sum = kernel_detail::sum_of(sums);
    return sum < 0 && sum > -1e-12 ? 0.0 : sum;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
