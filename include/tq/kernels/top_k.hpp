#pragma once
// The k largest logits of a row, alone or together with the row's log-partition.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "../core/token.hpp"
#include "log_sum_exp.hpp"
#include "row_blocks.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// An entry of a row of logits.
struct scored_token {
    token_id token = 0;  ///< its place in the row
    float logit = 0;     ///< as the row has it, before any temperature
    friend constexpr bool operator==(scored_token, scored_token) = default;
};

namespace kernel_detail {

/// Descending logit; among equals the lower token first.
[[nodiscard]] inline bool ranks_before(scored_token a, scored_token b) noexcept {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

/// The largest float below x; -inf has none and stays.
[[nodiscard]] inline float next_below(float x) noexcept {
    return x == -std::numeric_limits<float>::infinity() ? x : float_of_order(float_order(x) - 1);
}

/// The k best entries so far, kept as a heap whose top is the worst of them.
///
/// A row comes in segments of up to 2,048 blocks: the blocks' maxima first. At least k entries
/// reach the k-th largest of these, so only the few blocks that reach it are looked into.
class best_entries {
public:
    static constexpr std::size_t segment_blocks = 2048;

    explicit best_entries(std::span<scored_token> best,
                          const lane_kernels& lanes = best_lanes()) noexcept
        : best_{best},
          lanes_{&lanes} {}

    /// Where to write the maxima of a segment's blocks.
    [[nodiscard]] float* maxima() noexcept { return maxima_; }

    /// Takes the segment of blocks [first, first + count) whose maxima have been written.
    void take(const row_blocks& blocks, std::size_t first, std::size_t count) noexcept {
        if (best_.empty() || count == 0) return;
        std::uint32_t inside[block_size];
        if (best_.size() <= count)
            bar_ = (std::max)(bar_, next_below(lanes_->kth_bound(maxima_, count, best_.size())));
        std::fill(maxima_ + count, maxima_ + (count + 15) / 16 * 16,
                  -std::numeric_limits<float>::infinity());
        const std::size_t passing = lanes_->above(maxima_, (count + 15) / 16 * 16, bar_, passing_);
        for (std::size_t i = 0; i < passing; ++i) {
            const std::size_t block = first + passing_[i];
            if (!(maxima_[passing_[i]] > bar_)) continue;  // it has risen since
            const float* values = blocks[block];
            const std::size_t found = lanes_->above(values, block_size, bar_, inside);
            for (std::size_t j = 0; j < found; ++j)
                offer({static_cast<token_id>(block * block_size + inside[j]), values[inside[j]]});
        }
    }

    /// Sorts what was found; returns how many there are.
    std::size_t finish() noexcept {
        std::sort_heap(best_.begin(), end(), ranks_before);
        return filled_;
    }

private:
    [[nodiscard]] std::span<scored_token>::iterator end() const noexcept {
        return best_.begin() + static_cast<std::ptrdiff_t>(filled_);
    }

    void offer(scored_token entry) noexcept {
        if (!(entry.logit > bar_)) return;
        if (filled_ == best_.size())
            std::pop_heap(best_.begin(), end(), ranks_before);
        else
            ++filled_;
        best_[filled_ - 1] = entry;
        std::push_heap(best_.begin(), end(), ranks_before);
        if (filled_ == best_.size()) bar_ = (std::max)(bar_, best_.front().logit);
    }

    std::span<scored_token> best_;
    const lane_kernels* lanes_;
    std::size_t filled_ = 0;
    float bar_ = -std::numeric_limits<float>::infinity();  // an entry must be above it to get in
    float maxima_[segment_blocks];
    std::uint32_t passing_[segment_blocks];
};

inline std::size_t top_k(logits_view logits, std::span<scored_token> best,
                         const lane_kernels& lanes) noexcept {
    const row_blocks blocks{logits};
    best_entries entries{best, lanes};
    for (std::size_t first = 0; first < blocks.size();) {
        const std::size_t end = (std::min)(first + best_entries::segment_blocks, blocks.size());
        for (std::size_t b = first; b < end;) {
            const std::size_t count = blocks.run(b, end, best_entries::segment_blocks);
            lanes.maxima(blocks[b], count, entries.maxima() + (b - first));
            b += count;
        }
        entries.take(blocks, first, end - first);
        first = end;
    }
    return entries.finish();
}

/// Fills `best` and the sum in one read.
inline std::size_t top_k_and_sum(logits_view logits, std::span<scored_token> best,
                                 partition_sum& sum, const lane_kernels& lanes) noexcept {
    const row_blocks blocks{logits};
    best_entries entries{best, lanes};
    for (std::size_t first = 0; first < blocks.size();) {
        const std::size_t end = (std::min)(first + best_entries::segment_blocks, blocks.size());
        for_each_chunk(blocks, first, end, end - first,
                       [&](std::size_t b, std::size_t count, const float* x) {
                           sum.add(x, count, entries.maxima() + (b - first));
                       });
        entries.take(blocks, first, end - first);
        first = end;
    }
    return entries.finish();
}

}  // namespace kernel_detail

/// The k = best.size() largest entries, in descending order.
///
/// One branch-free pass takes the maximum of every 128 entries; only blocks whose maximum reaches
/// the k-th largest of these are read again.
///
/// shapes:  logits [V], best [k]; they must not overlap
/// returns: how many entries of `best` are filled: min(k, entries that are neither -inf nor NaN)
/// edges:   ties -> the lower token; NaN and -inf are never returned; +inf ranks first; denormals
///          are numbers like others; k >= V sorts the row; k = 0 or V = 0 -> 0
/// cost:    one read, and the k or so blocks that pass again; k > V / 128: O(k log k log V) more on
///          random rows. 17 KB of stack, no allocation. Thread-safe.
inline std::size_t top_k(logits_view logits, std::span<scored_token> best) noexcept {
    return kernel_detail::top_k(logits, best, kernel_detail::best_lanes());
}

/// The k largest entries of a row, and its log-partition over the whole vocabulary.
struct top_k_result {
    std::size_t found = 0;     ///< how many entries are filled
    double log_partition = 0;  ///< log sum_i exp(logit_i / temperature)
};

/// top_k and log_sum_exp in one read of the row.
///
///     log p(token) = logit / temperature - log_partition
///
/// shapes:  logits [V], best [k]; they must not overlap; temperature > 0 and finite
/// returns: found as top_k, log_partition as log_sum_exp: both with their edges and errors. A NaN
///          makes the log-partition NaN and hides no other entry.
/// cost:    one read, V exponentials, and the k or so blocks that pass again. 17 KB of stack, no
///          allocation. Thread-safe.
inline top_k_result top_k_log_partition(logits_view logits, std::span<scored_token> best,
                                        double temperature = 1.0) noexcept {
    const auto& lanes = kernel_detail::best_lanes();
    kernel_detail::partition_sum sum{temperature, lanes};
    const std::size_t found = kernel_detail::top_k_and_sum(logits, best, sum, lanes);
    return {found,
            sum.in_range() ? sum.value() : kernel_detail::plain_log_sum_exp(logits, temperature)};
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
