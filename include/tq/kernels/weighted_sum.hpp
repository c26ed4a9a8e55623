#pragma once
// Weighted sums in log space, for estimators.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "eigen.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// A sum of weights given by their logarithms, and the mean they give.
struct weighted_mean_result {
    double log_weight = 0;  ///< log sum_i exp(w_i)
    double mean = 0;        ///< sum_i exp(w_i) x_i / sum_i exp(w_i)
};

namespace kernel_detail {

/// A sum whose rounding errors are summed too, so that they do not grow with its length.
/// Source: Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen",
/// ZAMM 54, 1974.
class compensated_sum {
public:
    void add(double x) noexcept {
        const double next = sum_ + x;
        error_ += std::abs(sum_) >= std::abs(x) ? (sum_ - next) + x : (x - next) + sum_;
        sum_ = next;
    }
    [[nodiscard]] double value() const noexcept { return sum_ + error_; }

private:
    double sum_ = 0, error_ = 0;
};

}  // namespace kernel_detail

/// The self-normalised mean of x under weights exp(log_weights).
///
/// The largest weight is taken out first, so nothing overflows; both sums are compensated.
///
/// shapes: log_weights, x [n]
/// edges:  entries of weight 0 (-inf) count nothing, whatever x; n = 0 or no weight at all -> {-inf,
///         NaN}; a weight of +inf or NaN, or x not finite where the weight is not 0 -> NaN mean
/// error:  mean at most 1e-14 of max |x|, log_weight 1e-14 absolute, against long double
/// cost:   O(n), 2 n exponentials; no allocation. Thread-safe.
[[nodiscard]] inline weighted_mean_result weighted_mean(std::span<const double> log_weights,
                                                        std::span<const double> x) noexcept {
    constexpr double inf = std::numeric_limits<double>::infinity();
    double top = -inf;
    for (const double w : log_weights)
        top = std::isnan(w) || std::isnan(top) ? w + top : (std::max)(top, w);
    if (!std::isfinite(top)) return {top, std::numeric_limits<double>::quiet_NaN()};
    kernel_detail::compensated_sum weights, products;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double weight = std::exp(log_weights[i] - top);
        if (weight == 0) continue;
        weights.add(weight);
        products.add(weight * x[i]);
    }
    return {top + std::log(weights.value()), products.value() / weights.value()};
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
