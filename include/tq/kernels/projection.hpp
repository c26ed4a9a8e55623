#pragma once
// Linear heads on hidden states, and the cosine of embeddings: rows of hundreds to thousands of
// floats.

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "eigen.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

namespace kernel_detail {

/// sum_i a_i b_i in double, eight running sums.
[[nodiscard]] inline double dot(std::span<const float> a, std::span<const float> b) noexcept {
    using floats = Eigen::Map<const Eigen::Array<float, 8, 1>>;
    eight sums = eight::Zero();
    std::size_t i = 0;
    for (; i + 8 <= a.size(); i += 8)
        sums += floats{a.data() + i}.cast<double>() * floats{b.data() + i}.cast<double>();
    double sum = sum_of(sums);
    for (; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
    return sum;
}

}  // namespace kernel_detail

/// Several linear heads on several states: out = states weights^T + bias.
///
///     out[i, l] = bias[l] + sum_j states[i][j] weights[l, j]
///
/// A state's row depends on no other state.
///
/// shapes: states [n] of [d], weights [labels, d] row-major, bias [labels] or empty (none), out [n,
///         labels] row-major, labels = out.size() / n
/// edges:  n = 0 or labels = 0 -> nothing; d = 0 -> the bias; infinities and NaN as in IEEE sums
/// error:  products and sums in double: (d + 1) 1.2e-16 of sum_j |states[i][j] weights[l, j]|
/// cost:   O(n labels d); no allocation. Thread-safe.
inline void project(std::span<const std::span<const float>> states, std::span<const float> weights,
                    std::span<const float> bias, std::span<double> out) noexcept {
    if (states.empty()) return;
    const std::size_t labels = out.size() / states.size();
    for (std::size_t i = 0; i < states.size(); ++i)
        for (std::size_t l = 0; l < labels; ++l)
            out[i * labels + l] =
                kernel_detail::dot(states[i],
                                   weights.subspan(l * states[i].size(), states[i].size())) +
                (bias.empty() ? 0.0 : double{bias[l]});
}

/// The cosine of the angle between two vectors, in [-1, 1].
///
/// shapes: a, b [d]
/// edges:  a vector of length 0, d = 0, or NaN -> NaN; an infinite entry -> NaN
/// error:  1e-15 for d up to 4096
/// cost:   O(d), three dot products; no allocation. Thread-safe.
[[nodiscard]] inline double cosine(std::span<const float> a, std::span<const float> b) noexcept {
    const double aa = kernel_detail::dot(a, a), bb = kernel_detail::dot(b, b);
    if (aa == 0 || bb == 0) return std::numeric_limits<double>::quiet_NaN();
    const double cosine = kernel_detail::dot(a, b) / (std::sqrt(aa) * std::sqrt(bb));
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

/// Divides a vector by its length; one of length 0 stays as it is.
/// shapes: x [d]. cost: O(d), two reads; no allocation. Thread-safe.
inline void scale_to_unit(std::span<float> x) noexcept {
    const double length = std::sqrt(kernel_detail::dot(x, x));
    if (length == 0) return;
    for (float& value : x) value = static_cast<float>(double{value} / length);
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
