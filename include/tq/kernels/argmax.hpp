#pragma once
// The largest entry of a row.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include "../core/token.hpp"
#include "row_blocks.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// "No entry qualifies": returned by argmax and by the samplers.
inline constexpr token_id no_token = -1;

namespace kernel_detail {

/// The largest entry that is not NaN, the first of equals, and whether there is a NaN.
struct row_maximum {
    token_id token = no_token;
    float value = -std::numeric_limits<float>::infinity();
    bool any_nan = false;
};

inline row_maximum find_maximum(logits_view row,
                                const lane_kernels& lanes = best_lanes()) noexcept {
    constexpr std::size_t blocks_at_once = 64;
    const row_blocks blocks{row};
    float maxima[blocks_at_once];
    row_maximum best;
    std::size_t best_block = 0;
    for (std::size_t first = 0; first < blocks.size();) {
        const std::size_t count = blocks.run(first, blocks.size(), blocks_at_once);
        best.any_nan |= lanes.maxima_nan(blocks[first], count, maxima);
        for (std::size_t b = 0; b < count; ++b)
            if (maxima[b] > best.value) {
                best.value = maxima[b];
                best_block = first + b;
            }
        first += count;
    }
    if (best.value == -std::numeric_limits<float>::infinity()) return best;
    const float* values = blocks[best_block];
    const float* found = std::find(values, values + block_size, best.value);
    best.token =
        static_cast<token_id>(best_block * block_size + static_cast<std::size_t>(found - values));
    return best;
}

}  // namespace kernel_detail

/// Index of the largest entry.
///
/// shapes: x [n]
/// edges:  ties -> the lowest index; NaN and -inf entries are never chosen; empty, or nothing but
///         NaN and -inf -> no_token; +inf is larger than everything
/// cost:   one read (float at the speed of a max-reduction); no allocation. Thread-safe.
template <class Real>
[[nodiscard]] token_id argmax(std::span<const Real> x) noexcept {
    if constexpr (std::is_same_v<Real, float>) return kernel_detail::find_maximum(x).token;
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
