#pragma once
// The k largest logits of a row.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "../core/token.hpp"
#include "eigen.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// A token and its raw logit.
struct scored_token {
    token_id token = 0;
    float logit = 0;
    friend constexpr bool operator==(scored_token, scored_token) = default;
};

namespace kernel_detail {

/// Descending logit; among equals the lower token first.
[[nodiscard]] inline bool ranks_before(scored_token a, scored_token b) noexcept {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

}  // namespace kernel_detail

/// The k = best.size() largest entries, in descending order.
///
/// `best` is kept as a heap whose top is its worst entry. A block of the row is looked at closely
/// only if its maximum beats that worst entry, so nearly all of the row is read once at the speed of
/// a max-reduction.
///
/// shapes:  logits [V], best [k]; they must not overlap
/// returns: how many entries of `best` are filled: min(k, entries that are neither -inf nor NaN)
/// edges:   ties -> the lower token; NaN and -inf are never returned; +inf ranks first; k >= V sorts
///          the row; k = 0 or V = 0 -> 0
/// cost:    one read plus O(k log k log V) on random rows; no allocation. Thread-safe.
inline std::size_t top_k(logits_view logits, std::span<scored_token> best) noexcept {
    using kernel_detail::ranks_before;
    constexpr std::size_t block_size = 256;
    if (best.empty()) return 0;

    std::size_t filled = 0;
    float bar = -std::numeric_limits<float>::infinity();  // an entry must be above it to get in
    const auto offer = [&](std::size_t i) {
        const scored_token entry{static_cast<token_id>(i), logits[i]};
        if (filled == best.size())
            std::pop_heap(best.begin(), best.end(), ranks_before);
        else
            ++filled;
        best[filled - 1] = entry;
        const auto end = best.begin() + static_cast<std::ptrdiff_t>(filled);
        std::push_heap(best.begin(), end, ranks_before);
        if (filled == best.size()) bar = best.front().logit;
    };

    for (std::size_t i = 0; i < logits.size(); i += block_size) {
        const logits_view block = logits.subspan(i, std::min(block_size, logits.size() - i));
        const float top =
            kernel_detail::as_eigen(block).template maxCoeff<Eigen::PropagateNumbers>();
        if (!(top > bar)) continue;
        for (std::size_t j = 0; j < block.size(); ++j)
            if (block[j] > bar) offer(i + j);
    }
    std::sort_heap(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(filled), ranks_before);
    return filled;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
