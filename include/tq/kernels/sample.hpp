#pragma once
// Drawing a token from a row of logits.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "../core/trajectory.hpp"
#include "argmax.hpp"
#include "log_sum_exp.hpp"
#include "top_k.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// Draws tokens from rows of logits by one rule (temperature, top_p).
///
///     p_i ∝ exp(logit_i / temperature), cut to the smallest set of mass >= top_p
///
/// Exact inverse transform: the sums of 256 entries each are added up, the block that holds
/// u * total is found, and only that block is walked through.
///
/// edges: temperature 0 -> argmax; any NaN in the row, an empty row or nothing but -inf -> no_token;
///        +inf takes all (the lowest one); a token of probability 0 is never drawn; nucleus ties ->
///        the lower token is in first
/// cost:  two reads and V exponentials (top_p < 1: besides, the top of the row is sorted). Allocates
///        its workspace on the first row of a given size and never after.
/// threads: one sampler per thread.
class row_sampler {
public:
    explicit row_sampler(sampling_rule rule) noexcept : rule_{rule} {}

    /// The token at `u` in (0, 1) of the row's distribution function.
    [[nodiscard]] token_id operator()(logits_view row, double u) {
        const float top = kernel_detail::max_or_nan(row);
        if (std::isnan(top) || top == -std::numeric_limits<float>::infinity()) return no_token;
        if (rule_.greedy() || std::isinf(top)) return argmax(row);
        return rule_.top_p < 1.0 ? draw_nucleus(row, top, u) : draw_full(row, top, u);
    }

private:
    [[nodiscard]] token_id draw_full(logits_view row, float top, double u) {
        using kernel_detail::block_size;
        const float scale = static_cast<float>(1.0 / rule_.temperature);
        blocks_.clear();
        double total = 0;
        for (std::size_t i = 0; i < row.size(); i += block_size) {
            total += kernel_detail::exp_sum(block(row, i), top, scale);
            blocks_.push_back(total);
        }
        const double target = u * total;
        const auto found = std::upper_bound(blocks_.begin(), blocks_.end(), target);
        const auto index =
            static_cast<std::size_t>(std::min(found, blocks_.end() - 1) - blocks_.begin());
        const double before = index == 0 ? 0.0 : blocks_[index - 1];
        return walk(row, index * block_size, top, target - before);
    }

    /// The entry of the block at `begin` where the running sum passes `target`.
    [[nodiscard]] token_id walk(logits_view row, std::size_t begin, float top,
                                double target) const noexcept {
        token_id last = no_token;
        double sum = 0;
        const logits_view entries = block(row, begin);
        for (std::size_t j = 0; j < entries.size(); ++j) {
            const double weight = this->weight(entries[j], top);
            if (weight <= 0) continue;
            last = static_cast<token_id>(begin + j);
            if ((sum += weight) > target) return last;
        }
        return last == no_token ? argmax(row) : last;  // rounding pushed us past the block's end
    }

    [[nodiscard]] token_id draw_nucleus(logits_view row, float top, double u) {
        const double total = kernel_detail::scaled_sum(row, top, rule_.temperature);
        double mass = 0;
        std::size_t size = 0;
        for (std::size_t k = 64; mass < rule_.top_p * total; k *= 8) {
            k = std::min(k, row.size());
            nucleus_.resize(k);
            const std::size_t found = top_k(row, nucleus_);
            mass = 0;
            for (size = 0; size < found && mass < rule_.top_p * total; ++size)
                mass += weight(nucleus_[size].logit, top);
            if (k == row.size()) break;
        }
        double sum = 0;
        for (std::size_t i = 0; i < size; ++i)
            if ((sum += weight(nucleus_[i].logit, top)) > u * mass) return nucleus_[i].token;
        return nucleus_[size - 1].token;
    }

    [[nodiscard]] double weight(float logit, float top) const noexcept {
        return std::exp((static_cast<double>(logit) - static_cast<double>(top)) /
                        rule_.temperature);
    }
    [[nodiscard]] static logits_view block(logits_view row, std::size_t begin) noexcept {
        return row.subspan(begin, std::min(kernel_detail::block_size, row.size() - begin));
    }

    sampling_rule rule_;
    std::vector<double> blocks_;         // [ceil(V / 256)] running sums
    std::vector<scored_token> nucleus_;  // [k] the top of the row
};

}  // namespace tq::inline TQSTAR_KERNEL_ABI
