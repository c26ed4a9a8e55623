#pragma once
// Means, spreads and shares of a candidate's rollouts: tens to thousands of numbers.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>

#include "eigen.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// A mean, and the sum of squares around it.
struct moments {
    double mean = 0;     ///< sum_i w_i x_i, w_i = 1 / n if there are no weights
    double squares = 0;  ///< sum_i (w_i (x_i - mean))^2 with weights, else sum_i (x_i - mean)^2
    std::size_t positive = 0;  ///< entries that count: weights > 0, else n
};

namespace kernel_detail {

/// sum_i (x_i - centre)^2.
[[nodiscard]] inline double sum_of_squares(std::span<const double> x, double centre) noexcept {
    eight sums = eight::Zero();
    for (std::size_t i = 0; i < x.size(); i += 8) {
        const eight v = load_eight(x, i, centre) - centre;
        sums += v * v;
    }
    return sum_of(sums);
}

}  // namespace kernel_detail

/// Mean and squares of numbers that count the same.
///
/// If all have one sign, the one nearest to 0 is taken out first and put back: equal numbers have
/// exactly their own value as the mean and squares 0, and -x has exactly minus the mean of x. Whole
/// numbers have the same mean in every order.
///
/// shapes: x [n]
/// edges:  n = 0 -> NaN mean; NaN anywhere, or infinities of both signs -> NaN mean; infinities of
///         one sign -> that mean, NaN squares
/// error:  against long double, for numbers of one sign: mean 1e-14 relative, squares 1e-13
/// cost:   O(n), three reads; no allocation. Thread-safe.
[[nodiscard]] inline moments moments_of(std::span<const double> x) noexcept {
    using kernel_detail::eight, kernel_detail::load_eight, kernel_detail::infinity;
    double low = infinity, high = -infinity;
    for (const double value : x) {
        low = (std::min)(low, value);
        high = (std::max)(high, value);
    }
    double shift = low > 0 ? low : high < 0 ? high : 0.0;
    if (std::isinf(shift)) shift = 0;
    eight sums = eight::Zero();
    for (std::size_t i = 0; i < x.size(); i += 8) sums += load_eight(x, i, shift) - shift;
    const double mean = shift + kernel_detail::sum_of(sums) / static_cast<double>(x.size());
    return {mean, kernel_detail::sum_of_squares(x, mean), x.size()};
}

/// The same with weights, which should sum to 1. Entries of weight 0 are not read: they may be
/// infinite.
///
/// shapes: x, weights [n]; weights >= 0
/// edges:  no positive weight -> mean 0
/// error:  as without
/// cost:   O(n), two reads; no allocation. Thread-safe.
[[nodiscard]] inline moments moments_of(std::span<const double> x,
                                        std::span<const double> weights) noexcept {
    using kernel_detail::eight, kernel_detail::load_eight;
    const auto load = [&](std::size_t i, const eight& weight, double rest) {
        eight values = load_eight(x, i, rest);
        for (std::size_t j = 0; j < 8; ++j)
            if (!(weight.data()[j] > 0)) values.data()[j] = rest;
        return values;
    };
    moments result;
    eight sums = eight::Zero();
    for (std::size_t i = 0; i < x.size(); i += 8) {
        const eight weight = load_eight(weights, i, 0);
        for (std::size_t j = 0; j < 8; ++j) result.positive += weight.data()[j] > 0;
        sums += weight * load(i, weight, 0);
    }
    result.mean = kernel_detail::sum_of(sums);
    sums = eight::Zero();
    for (std::size_t i = 0; i < x.size(); i += 8) {
        const eight weight = load_eight(weights, i, 0);
        const eight part = weight * (load(i, weight, result.mean) - result.mean);
        sums += part * part;
    }
    result.squares = kernel_detail::sum_of(sums);
    return result;
}

/// shares_i = w_i^power / sum_j w_j^power of weights given by their logarithms, 0^0 being 0.
///
/// Equal weights have equal shares, to the bit.
///
/// shapes: log_weights, shares [n]; they must not overlap
/// range:  power in [0, 1]
/// edges:  no positive weight -> equal shares; weights of +inf share all among them (and power 0
///         gives all positive ones the same); n = 0 -> nothing; NaN -> share 0
/// error:  1e-14 relative, against long double, for |power (log w - top)| up to 20
/// cost:   O(n), n exponentials; no allocation. Thread-safe.
inline void shares_of(std::span<const double> log_weights, double power,
                      std::span<double> shares) noexcept {
    using kernel_detail::eight, kernel_detail::load_eight, kernel_detail::infinity;
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    double top = -infinity;
    for (const double value : log_weights) top = (std::max)(top, value);
    eight sums = eight::Zero();
    for (std::size_t i = 0; i < shares.size(); i += 8) {
        const eight logs = load_eight(log_weights, i, none);
        eight share = kernel_detail::exp_of((logs - top) * power);
        for (std::size_t j = 0; j < 8; ++j) {
            const double log = logs.data()[j];
            if (log == top || (power == 0 && log > -infinity)) share.data()[j] = 1;
            if (log != top && !(log > -infinity)) share.data()[j] = 0;
        }
        sums += share;
        kernel_detail::store_eight(share, shares, i);
    }
    const double sum = kernel_detail::sum_of(sums);
    for (double& share : shares) share /= sum;
}

/// Effective sample size 1 / sum_i share_i^2 of shares that sum to 1; 0 if all are 0. In [0, n].
[[nodiscard]] inline double effective_size(std::span<const double> shares) noexcept {
    const double squares = kernel_detail::sum_of_squares(shares, 0);
    return squares > 0 ? 1 / squares : 0;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
