#pragma once
// Log-partition of a row of logits.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "eigen.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

namespace kernel_detail {

inline constexpr std::size_t block_size = 256;  // short float sums inside, one double sum outside

/// sum_i exp((x_i - top) * scale) over one block.
template <class Real>
[[nodiscard]] double exp_sum(std::span<const Real> block, Real top, Real scale) noexcept {
    return static_cast<double>(((as_eigen(block) - top) * scale).exp().sum());
}

/// sum_i exp((x_i - top) / temperature) over a whole row.
template <class Real>
[[nodiscard]] double scaled_sum(std::span<const Real> x, Real top, double temperature) noexcept {
    const Real scale = static_cast<Real>(1.0 / temperature);
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); i += block_size)
        sum += exp_sum(x.subspan(i, std::min(block_size, x.size() - i)), top, scale);
    return sum;
}

/// The maximum, NaN if any entry is NaN, -inf if there is none.
template <class Real>
[[nodiscard]] Real max_or_nan(std::span<const Real> x) noexcept {
    if (x.empty()) return -std::numeric_limits<Real>::infinity();
    return as_eigen(x).template maxCoeff<Eigen::PropagateNaN>();
}

}  // namespace kernel_detail

/// log sum_i exp(x_i / temperature).
///
/// The largest entry is taken out first, so nothing overflows; blocks of 256 are summed in Real, the
/// blocks in double.
///
/// shapes: x [n]; temperature > 0 and finite
/// edges:  empty or all -inf -> -inf; any NaN -> NaN; otherwise any +inf -> +inf
/// error:  against long double at most 2e-6 absolute (float) and 1e-12 (double), for |x / temperature|
///         up to 200 and n up to 128,256; the table in tests/kernels/reference.hpp is what is tested.
///         With Eigen's vectorisation switched off the float bound is 2e-5.
/// cost:   two reads, n exponentials; no allocation. Thread-safe.
template <class Real>
[[nodiscard]] double log_sum_exp(std::span<const Real> x, double temperature = 1.0) noexcept {
    const Real top = kernel_detail::max_or_nan(x);
    if (!std::isfinite(top)) return static_cast<double>(top) / temperature;
    return static_cast<double>(top) / temperature +
           std::log(kernel_detail::scaled_sum(x, top, temperature));
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
