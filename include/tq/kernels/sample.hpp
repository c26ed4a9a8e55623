#pragma once
// Drawing a token from a row of logits.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../core/trajectory.hpp"
#include "argmax.hpp"
#include "log_sum_exp.hpp"
#include "plain_draw.hpp"
#include "top_k.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// Draws tokens from rows of logits by one rule (temperature, top_p) and min_p.
///
///     p_i ∝ exp(logit_i / temperature), cut to the smallest set of mass >= top_p and to
///     p_i >= min_p * max_j p_j (both measured before the other cuts)
///
/// Exact inverse transform, in the order of the tokens: the sums of 2,048 entries each are added up
/// in one read, the chunk that holds u * total is found, in it the block, and in the block
/// of 128 the token. A cut needs the largest entries only: the maxima of the blocks, kept from the
/// first read, tell which blocks have any.
///
/// edges: temperature 0 -> argmax; any NaN in the row, an empty row or nothing but -inf ->
///        no_token; +inf takes all (the lowest one); a token of probability 0 is never drawn; ties
///        at a cut -> the lower token is in first
/// error: the distribution function is that of float exponentials, relative error 1e-6
/// cost:  one read and V exponentials; top_p < 1 whose set is larger than 64 tokens, or min_p: a
///        second read of the blocks that matter. No sort and no copy of the row. Allocates its
///        workspace on the first row of a given size and never after.
/// threads: one sampler per thread.
class row_sampler {
public:
    /// rule: as sampling_rule. min_p in [0, 1): tokens below min_p times the likeliest are left
    ///       out; 0 = none.
    explicit row_sampler(sampling_rule rule, double min_p = 0.0) noexcept
        : rule_{rule},
          min_p_{min_p} {}

    /// The token at `u` in (0, 1) of the row's distribution function.
    [[nodiscard]] token_id operator()(logits_view row, double u) {
        if (rule_.greedy()) {
            const auto best = kernel_detail::find_maximum(row);
            return best.any_nan ? no_token : best.token;
        }
        const kernel_detail::row_blocks blocks{row};
        kernel_detail::partition_sum sum{rule_.temperature};
        scan(blocks, sum);
        if (sum.any_nan() || sum.top() == -infinity) return no_token;
        if (sum.top() == infinity) return argmax(row);
        if (!sum.in_range()) return kernel_detail::draw_plainly(row, u, rule_, min_p_, largest_);
        if (rule_.top_p < 1.0 || min_p_ > 0.0) return draw_above(blocks, cut(blocks, sum), sum, u);
        const token_id drawn = draw_full(blocks, sum, u);
        return drawn == no_token ? argmax(row) : drawn;
    }

private:
    using row_blocks = kernel_detail::row_blocks;
    using partition_sum = kernel_detail::partition_sum;
    using place = kernel_detail::place;
    static constexpr float infinity = std::numeric_limits<float>::infinity();

    /// Fills the maxima of the blocks and the running sums of the chunks.
    void scan(const row_blocks& blocks, partition_sum& sum) {
        maxima_.resize((blocks.size() + 15) / 16 * 16);
        chunks_.clear();
        for_each_chunk(blocks, 0, blocks.size(), kernel_detail::chunk_blocks,
                       [&](std::size_t b, std::size_t n, const float* x) {
                           const double shrunk = sum.add(x, n, maxima_.data() + b);
                           if (shrunk != 1)
                               for (chunk& before : chunks_) before.sum *= shrunk;
                           chunks_.push_back({b, n, sum.sum()});
                       });
        std::fill(maxima_.begin() + static_cast<std::ptrdiff_t>(blocks.size()), maxima_.end(),
                  -infinity);
    }

    /// no_token if u falls where float knows no mass (u below 1e-30).
    [[nodiscard]] token_id draw_full(const row_blocks& blocks, const partition_sum& sum,
                                     double u) const noexcept {
        const double target = (std::min)(u, kernel_detail::almost_one) * sum.sum();
        const auto found =
            std::upper_bound(chunks_.begin(), chunks_.end(), target,
                             [](double value, const chunk& entry) { return value < entry.sum; });
        if (found == chunks_.end()) return no_token;
        const double before = found == chunks_.begin() ? 0.0 : (found - 1)->sum;

        // Each level takes its share of its own sum, so that no rounding pushes u past an end.
        double sums[kernel_detail::chunk_blocks];
        for (std::size_t b = 0; b < found->count; ++b) {
            const bool possible = maxima_[found->first + b] > -infinity;
            sums[b] = possible ? sum.block_sum(blocks[found->first + b]) : 0.0;
        }
        const place block = kernel_detail::find_share({sums, found->count},
                                                      (target - before) / (found->sum - before));
        if (block.index == found->count) return no_token;
        const float* values = blocks[found->first + block.index];
        double weights[kernel_detail::block_size];
        for (std::size_t j = 0; j < kernel_detail::block_size; ++j)
            weights[j] = sum.weight(values[j]);
        const std::size_t inside = kernel_detail::find_share(weights, block.share).index;
        return static_cast<token_id>((found->first + block.index) * kernel_detail::block_size +
                                     inside);
    }

    /// The last entry that the cuts keep, in order of rank.
    [[nodiscard]] scored_token cut(const row_blocks& blocks, const partition_sum& sum) {
        const scored_token everything{(std::numeric_limits<token_id>::max)(),
                                      std::numeric_limits<float>::lowest()};
        scored_token last = everything;
        if (min_p_ > 0.0) {
            const double bar = static_cast<double>(sum.top()) +
                               rule_.temperature * std::log((std::min)(min_p_, 1.0));
            last.logit = (std::max)(last.logit, static_cast<float>(bar));
            if (static_cast<double>(last.logit) < bar)
                last.logit = std::nextafter(last.logit, infinity);
        }
        if (rule_.top_p >= 1.0) return last;
        const scored_token of_mass = nucleus(blocks, sum);
        return kernel_detail::ranks_before(of_mass, last) ? of_mass : last;
    }

    /// The last entry of the smallest set of mass >= top_p.
    [[nodiscard]] scored_token nucleus(const row_blocks& blocks, const partition_sum& sum) {
        constexpr std::size_t few = 64;  // mostly enough
        const double wanted = rule_.top_p * sum.sum();
        largest_.resize(few);
        kernel_detail::best_entries entries{largest_};
        for (std::size_t first = 0; first < blocks.size();) {
            const std::size_t n =
                (std::min)(kernel_detail::best_entries::segment_blocks, blocks.size() - first);
            std::copy_n(maxima_.data() + first, n, entries.maxima());
            entries.take(blocks, first, n);
            first += n;
        }
        largest_.resize(entries.finish());
        double mass = 0;
        for (const scored_token entry : largest_)
            if ((mass += sum.weight(entry.logit)) >= wanted) return entry;
        if (largest_.size() < few) return largest_.back();

        // All that are left out weigh at most 1 - top_p, so those above this bar are enough.
        const auto vocabulary = static_cast<double>(blocks.size() * kernel_detail::block_size);
        const double bar = sum.logit_of((1 - rule_.top_p) * sum.sum() / vocabulary);
        largest_.clear();
        visit_from(blocks, {(std::numeric_limits<token_id>::max)(), static_cast<float>(bar - 1e-3)},
                   [&](scored_token entry) {
                       largest_.push_back(entry);
                       return false;
                   });
        return last_of_mass(wanted, sum);
    }

    /// Selection by mass: the first of largest_, in order of rank, where the mass reaches `wanted`.
    [[nodiscard]] scored_token last_of_mass(double wanted, const partition_sum& sum) noexcept {
        auto begin = largest_.begin(), end = largest_.end();
        double before = 0;
        while (end - begin > 1) {
            const auto middle = begin + (end - begin) / 2;
            std::nth_element(begin, middle, end, kernel_detail::ranks_before);
            double mass = 0;
            for (auto entry = begin; entry != middle; ++entry) mass += sum.weight(entry->logit);
            if (before + mass >= wanted) {
                end = middle;
            } else {
                before += mass;
                begin = middle;
            }
        }
        return *begin;
    }

    [[nodiscard]] token_id draw_above(const row_blocks& blocks, scored_token cut,
                                      const partition_sum& sum, double u) {
        double mass = 0, running = 0;
        visit_from(blocks, cut, [&](scored_token entry) {
            mass += sum.weight(entry.logit);
            return false;
        });
        token_id drawn = no_token;
        visit_from(blocks, cut, [&](scored_token entry) {
            const double weight = sum.weight(entry.logit);
            if (weight > 0) drawn = entry.token;
            return (running += weight) > u * mass;
        });
        return drawn;
    }

    /// Calls visit(entry), in the order of the tokens, for the entries that rank at or before
    /// `cut`, until it returns true.
    template <class Visit>
    void visit_from(const row_blocks& blocks, scored_token cut, Visit visit) const {
        std::uint32_t inside[kernel_detail::block_size];
        const float bar = kernel_detail::next_below(cut.logit);
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            if (!(maxima_[b] > bar)) continue;
            const float* values = blocks[b];
            const std::size_t found =
                kernel_detail::best_lanes().above(values, kernel_detail::block_size, bar, inside);
            for (std::size_t j = 0; j < found; ++j) {
                const scored_token entry{
                    static_cast<token_id>(b * kernel_detail::block_size + inside[j]),
                    values[inside[j]]};
                if (!kernel_detail::ranks_before(cut, entry) && visit(entry)) return;
            }
        }
    }

    struct chunk {
        std::size_t first, count;  // blocks
        double sum;                // of all entries up to the end of this chunk
    };

    sampling_rule rule_;
    double min_p_;
    std::vector<chunk> chunks_;          // [V / 2048]
    std::vector<float> maxima_;          // [V / 128] of the blocks
    std::vector<scored_token> largest_;  // the candidates of a cut
};

}  // namespace tq::inline TQSTAR_KERNEL_ABI
