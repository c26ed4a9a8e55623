#pragma once
// The tail of importance weights: generalised Pareto fit, k-hat, Pareto smoothing.
//
// Source: Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling", JMLR 2024
// (arXiv 1507.02646); fit by Zhang and Stephens, "A new and efficient estimation method for the
// generalized Pareto distribution", Technometrics 2009.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

namespace tq {

/// A generalised Pareto distribution of excesses x > 0: P(X > x) = (1 + k x / sigma)^(-1/k).
struct pareto_fit {
    /// Shape; moments of order 1 / k and above do not exist. -inf: there is no tail, the largest
    /// values are all equal. +inf: unknown, too few values.
    double k = std::numeric_limits<double>::infinity();
    double sigma = 0;  ///< scale; 0 unless k is finite

    /// The p-quantile, p in [0, 1); k must be finite.
    [[nodiscard]] double quantile(double p) const noexcept {
        const double log_tail = std::log1p(-p);
        return k == 0 ? -sigma * log_tail : sigma * std::expm1(-k * log_tail) / k;
    }
};

/// How far the usual thresholds trust weights with this k-hat (Vehtari et al.).
enum class tail_verdict {
    unknown,  ///< fewer than five weights in the tail (n < 25): nothing can be said
    good,     ///< k < 0.5: the weights have a variance; errors and intervals hold
    fair,     ///< k < 0.7: no variance, but errors are still of use
    bad,      ///< k < 1: the weights have a mean, but no practical number of rollouts finds it
    hopeless  ///< k >= 1: not even a mean
};

/// unknown for k = inf (no tail was fitted) or NaN.
[[nodiscard]] inline tail_verdict verdict_of(double k) noexcept {
    if (!(k < std::numeric_limits<double>::infinity())) return tail_verdict::unknown;
    return k < 0.5   ? tail_verdict::good
           : k < 0.7 ? tail_verdict::fair
           : k < 1   ? tail_verdict::bad
                     : tail_verdict::hopeless;
}

/// The k-hat above which n draws are not enough: min(1 - 1 / log10 n, 0.7). -inf for n <= 1.
[[nodiscard]] inline double pareto_k_limit(std::size_t n) noexcept {
    return (std::min)(1 - 1 / std::log10(static_cast<double>(n)), 0.7);
}

/// How many of n weights are the tail: n / 5, from 225 on 3 sqrt(n), rounded down.
[[nodiscard]] inline std::size_t pareto_tail_size(std::size_t n) noexcept {
    return n > 225 ? static_cast<std::size_t>(3 * std::sqrt(static_cast<double>(n))) : n / 5;
}

namespace detail {

[[nodiscard]] inline bool any_nan(std::span<const double> x) noexcept {
    for (const double value : x)
        if (std::isnan(value)) return true;
    return false;
}

/// -inf if there is none; no NaN.
[[nodiscard]] inline double largest_of(std::span<const double> x) noexcept {
    double largest = -std::numeric_limits<double>::infinity();
    for (const double value : x) largest = (std::max)(largest, value);
    return largest;
}

/// mean log(1 - b x): the shape of a fit whose k / sigma is -b.
[[nodiscard]] inline double pareto_shape(std::span<const double> x, double b) noexcept {
    double sum = 0;
    for (const double value : x) sum += std::log1p(-b * value);
    return sum / static_cast<double>(x.size());
}

/// log-likelihood of that fit.
[[nodiscard]] inline double pareto_log_likelihood(std::span<const double> x, double b) noexcept {
    const auto n = static_cast<double>(x.size());
    const double k = pareto_shape(x, b);
    const double scale = b == 0 ? n / std::accumulate(x.begin(), x.end(), 0.0) : -b / k;
    const double result = n * (std::log(scale) - k - 1);
    return std::isfinite(result) ? result : -std::numeric_limits<double>::infinity();
}

}  // namespace detail

/// Fits excesses: the posterior mean of b = -k / sigma on the grid of Zhang and Stephens, with the
/// weak prior of Vehtari et al. that draws k towards 0.5 with the force of ten observations.
///
/// shapes: excesses [n], ascending, > 0
/// edges:  n < 5, or so wide a spread that the likelihood overflows -> unknown (k = +inf)
/// cost:   O(n (30 + sqrt n)) logarithms; one allocation
[[nodiscard]] inline pareto_fit fit_pareto(std::span<const double> excesses) {
    if (excesses.size() < 5) return {};
    const auto n = static_cast<double>(excesses.size());
    const auto grid = static_cast<std::size_t>(30 + std::sqrt(n));
    const double quartile = excesses[static_cast<std::size_t>(std::lround(n / 4)) - 1];
    const auto b_at = [&](std::size_t j) {
        const double ratio = static_cast<double>(grid) / (static_cast<double>(j) + 0.5);
        return 1 / excesses.back() + (1 - std::sqrt(ratio)) / (3 * quartile);
    };
    std::vector<double> likelihood(grid);
    for (std::size_t j = 0; j < grid; ++j)
        likelihood[j] = detail::pareto_log_likelihood(excesses, b_at(j));
    const double top = detail::largest_of(likelihood);
    if (std::isinf(top)) return {};
    double b = 0, total = 0;
    for (std::size_t j = 0; j < grid; ++j) {
        const double weight = std::exp(likelihood[j] - top);
        b += weight * b_at(j);
        total += weight;
    }
    b /= total;
    const double k = detail::pareto_shape(excesses, b);
    const double mean = std::accumulate(excesses.begin(), excesses.end(), 0.0) / n;
    return {.k = (n * k + 10 * 0.5) / (n + 10), .sigma = b == 0 ? mean : -k / b};
}

namespace detail {

/// The largest weights, as excesses over the next smaller one.
struct weight_tail {
    std::vector<std::size_t> order;  ///< [tail] indices of the weights, ascending by weight
    std::vector<double> excess;      ///< [tail] exp(log w - top) - cutoff > 0
    double cutoff = 0;               ///< exp(largest log w below the tail - top)
    double top = 0;                  ///< the largest log w
    bool flat = false;               ///< the largest is the cutoff's equal, to 1e-9
};

[[nodiscard]] inline weight_tail tail_of(std::span<const double> log_weights) {
    weight_tail tail;
    const std::size_t n = log_weights.size(), size = pareto_tail_size(n);
    if (size < 5 || any_nan(log_weights)) return tail;
    tail.order.resize(n);
    std::iota(tail.order.begin(), tail.order.end(), std::size_t{0});
    const auto less = [&](std::size_t i, std::size_t j) {
        return log_weights[i] != log_weights[j] ? log_weights[i] < log_weights[j] : i < j;
    };
    const auto first = tail.order.end() - static_cast<std::ptrdiff_t>(size) - 1;
    std::sort(tail.order.begin(), tail.order.end(), less);
    tail.top = log_weights[tail.order.back()];
    if (!std::isfinite(tail.top)) {
        tail.order.clear();
        return tail;
    }
    tail.flat = tail.top - log_weights[*first] < 1e-9;  // equal but for rounding
    tail.cutoff = std::exp(log_weights[*first] - tail.top);
    tail.order.erase(tail.order.begin(), tail.flat ? tail.order.end() : first + 1);
    const auto excess = [&](std::size_t i) {
        return std::exp(log_weights[i] - tail.top) - tail.cutoff;
    };
    std::erase_if(tail.order, [&](std::size_t i) { return !(excess(i) > 0); });  // ties
    for (const std::size_t i : tail.order) tail.excess.push_back(excess(i));
    return tail;
}

[[nodiscard]] inline double shape_of(const weight_tail& tail, const pareto_fit& fit) noexcept {
    return tail.flat ? -std::numeric_limits<double>::infinity() : fit.k;
}

}  // namespace detail

/// k-hat of importance weights: the shape of their upper tail.
///
/// shapes: log_weights [n]; -inf = weight 0
/// edges:  n < 25, any NaN, fewer than five weights above the tail's cutoff, or a top that is not
///         finite -> +inf (unknown); the largest weights all equal -> -inf (no tail)
/// cost:   O(n log n)
[[nodiscard]] inline double pareto_k(std::span<const double> log_weights) {
    const detail::weight_tail tail = detail::tail_of(log_weights);
    return detail::shape_of(tail, fit_pareto(tail.excess));
}

/// Pareto smoothing, in place: the weights of the tail become the expected order statistics of the
/// fitted distribution, none larger than the largest raw weight. Returns k-hat.
///
/// As arviz-stats' psislw, whose results (at r_eff = 1, before normalisation) it reproduces.
/// Weights tied with the cutoff belong to the body here.
/// shapes: log_weights [n]
/// edges:  nothing changes where k-hat is unknown or -inf
[[nodiscard]] inline double pareto_smooth(std::span<double> log_weights) {
    const detail::weight_tail tail = detail::tail_of(log_weights);
    const pareto_fit fit = fit_pareto(tail.excess);
    const auto size = static_cast<double>(tail.order.size());
    if (std::isfinite(fit.k))
        for (std::size_t i = 0; i < tail.order.size(); ++i) {
            const double smooth =
                std::log(tail.cutoff + fit.quantile((static_cast<double>(i) + 0.5) / size));
            log_weights[tail.order[i]] = tail.top + (std::min)(smooth, 0.0);
        }
    return detail::shape_of(tail, fit);
}

}  // namespace tq
