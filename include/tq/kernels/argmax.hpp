#pragma once
// The largest entry of a row.

#include <cstddef>
#include <limits>
#include <span>

#include "../core/token.hpp"
#include "eigen.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// "No entry qualifies": returned by argmax and by the samplers.
inline constexpr token_id no_token = -1;

/// Index of the largest entry.
///
/// shapes: x [n]
/// edges:  ties -> the lowest index; NaN and -inf entries are never chosen; empty, or nothing but
///         NaN and -inf -> no_token; +inf is larger than everything
/// cost:   one read; no allocation. Thread-safe.
template <class Real>
[[nodiscard]] token_id argmax(std::span<const Real> x) noexcept {
    Real best = -std::numeric_limits<Real>::infinity();
    token_id index = no_token;
    for (std::size_t i = 0; i < x.size(); ++i)
        if (x[i] > best) {
            best = x[i];
            index = static_cast<token_id>(i);
        }
    return index;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
