#pragma once
// How the kernels see Eigen, and the one place that includes it.
//
// Eigen does what there is to do for the k candidates of a state, the n rollouts of a candidate and
// the d numbers of a hidden state: tilt.hpp, moments.hpp, projection.hpp. What reads every entry of
// a vocabulary is in lanes.hpp instead: a header is compiled with its user's flags, with Eigen's
// 16-byte vectors at -O2, and its reductions look at one thing at a time. Top 10 and log-partition
// of 128,256 logits take 18.6 us there, Eigen's log-sum-exp alone 32 us
// (benchmarks/results/kernels.txt).
//
// Eigen's alignment is part of its ABI: EIGEN_MAX_ALIGN_BYTES is 16 at -O2 and 32 or 64 with
// -mavx2 or -mavx512f. The kernels therefore live in an inline namespace named after it, so that
// two translation units built with different -m flags never share one of tq's symbols, and no Eigen
// type appears in a public signature.

// <resolv.h>, which HTTP libraries include, defines _res, and Eigen has parameters of that name.
#pragma push_macro("_res")
#undef _res
#include <Eigen/Core>
#pragma pop_macro("_res")
#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "../config.hpp"

#define TQSTAR_DETAIL_PASTE_(a, b) a##b
#define TQSTAR_DETAIL_PASTE(a, b) TQSTAR_DETAIL_PASTE_(a, b)
/// The kernels' inline namespace, e.g. align_32.
#define TQSTAR_KERNEL_ABI TQSTAR_DETAIL_PASTE(align_, EIGEN_MAX_ALIGN_BYTES)

namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// Eight numbers: four, two or one of Eigen's vectors. Eigen's own reductions add in an order that
/// depends on the width of a vector and on the address of the data; running sums of eight do not.
using eight = Eigen::Array<double, 8, 1>;

/// The entries [i, i + 8) of x, with `rest` for those beyond its end.
[[nodiscard]] inline eight load_eight(std::span<const double> x, std::size_t i,
                                      double rest) noexcept {
    eight values;
    for (std::size_t j = 0; j < 8; ++j) values.data()[j] = i + j < x.size() ? x[i + j] : rest;
    return values;
}

/// Writes the entries [i, i + 8) of x, as far as there are.
inline void store_eight(const eight& values, std::span<double> x, std::size_t i) noexcept {
    for (std::size_t j = 0; j < 8 && i + j < x.size(); ++j) x[i + j] = values.data()[j];
}

[[nodiscard]] inline double sum_of(const eight& v) noexcept {
    const double* x = v.data();
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/// e^v for v <= 709; 0 below -708, NaN stays NaN.
[[nodiscard]] inline eight exp_of(const eight& v) noexcept {
    eight result = v.exp();
    for (std::size_t j = 0; j < 8; ++j) {  // where Eigen's polynomial is cut off
        const double x = v.data()[j];
        if (!(x >= -708.0)) result.data()[j] = x < -708.0 ? 0.0 : x;
    }
    return result;
}

/// sum_i exp((x_i - top) / temperature), 256 at a time; no NaN, top finite and the largest.
[[nodiscard]] inline double sum_of_exp(std::span<const double> x, double top,
                                       double temperature) noexcept {
    double sum = 0;
    for (std::size_t first = 0; first < x.size(); first += 256) {
        const auto part = x.subspan(first, (std::min)(std::size_t{256}, x.size() - first));
        eight sums = eight::Zero();
        for (std::size_t i = 0; i < part.size(); i += 8)
            sums += exp_of((load_eight(part, i, -infinity) - top) / temperature);
        sum += sum_of(sums);
    }
    return sum;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail
