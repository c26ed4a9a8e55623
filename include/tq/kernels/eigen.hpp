#pragma once
// How the kernels see Eigen, and the one place that includes it.
//
// Eigen's alignment is part of its ABI: EIGEN_MAX_ALIGN_BYTES is 16 at -O2 and 32 or 64 with
// -mavx2 or -mavx512f. The kernels therefore live in an inline namespace named after it, so that two
// translation units built with different -m flags never share one of tq's symbols, and no Eigen type
// appears in a signature.

// <resolv.h>, which HTTP libraries include, defines _res, and Eigen has parameters of that name.
#pragma push_macro("_res")
#undef _res
#include <Eigen/Core>
#pragma pop_macro("_res")
#include <span>

#include "../config.hpp"

#define TQSTAR_DETAIL_PASTE_(a, b) a##b
#define TQSTAR_DETAIL_PASTE(a, b) TQSTAR_DETAIL_PASTE_(a, b)
/// The kernels' inline namespace, e.g. align_32.
#define TQSTAR_KERNEL_ABI TQSTAR_DETAIL_PASTE(align_, EIGEN_MAX_ALIGN_BYTES)

namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail {

template <class Real>
using eigen_array = Eigen::Map<const Eigen::Array<Real, Eigen::Dynamic, 1>>;

template <class Real>
[[nodiscard]] eigen_array<Real> as_eigen(std::span<const Real> values) noexcept {
    return {values.data(), static_cast<Eigen::Index>(values.size())};
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail
