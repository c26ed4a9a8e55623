#pragma once
// Log-partition of a row of logits.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <type_traits>

#include "eigen.hpp"
#include "row_blocks.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

namespace kernel_detail {

/// The running sum of exp(logit / temperature) over a row, block by block, in one read.
///
/// The sum is kept as sum 2^(x * scale - offset), scale = float(log2(e) / temperature) and offset =
/// reference * scale, as it was rounded. The reference is an entry no more than a factor of 4 below
/// the largest so far; a block that rises above that moves it and is done again: the exponents of
/// the terms that matter stay small, and so do their rounding errors. What scale is off by is put
/// right at the end, to first order.
class partition_sum {
public:
    explicit partition_sum(double temperature, const lane_kernels& lanes = best_lanes()) noexcept
        : lanes_{&lanes},
          temperature_{temperature},
          scale_{static_cast<float>(log2_e / temperature)},
          in_range_{scale_ > 1e-6F && scale_ < 1e6F} {}

    /// Adds blocks and writes their maxima. The sums before are to be multiplied by the result
    /// (nearly always 1).
    double add(const float* x, std::size_t blocks, float* maxima) noexcept {
        double shrunk = 1;
        for (std::size_t done = 0; done < blocks;) {
            const float* rest = x + done * block_size;
            if (!counting()) {
                any_nan_ |= lanes_->maxima_nan(rest, 1, maxima + done);
                top_ = (std::max)(top_, maxima[done]);
                if (!has_reference() && in_range_ && !std::isinf(top_)) move_reference();
                if (!counting()) {
                    ++done;
                    continue;
                }
            }
            const exp_sum part =
                lanes_->exp_maxima(rest, blocks - done, scale_, reference_, limit_, maxima + done);
            sum_ += part.sum;
            top_ = (std::max)(top_, part.top);
            if (std::isnan(part.sum)) lanes_->maxima_nan(rest, part.blocks, maxima + done);
            done += part.blocks;
            if (done == blocks) break;
            top_ = maxima[done];  // the next block rises above the limit
            if (!std::isinf(top_)) shrunk *= move_reference();
        }
        return shrunk;
    }

    /// False where float cannot hold the exponents: the sum is void, the maxima are not.
    [[nodiscard]] bool in_range() const noexcept { return in_range_; }
    [[nodiscard]] bool any_nan() const noexcept { return any_nan_ || std::isnan(sum_); }
    [[nodiscard]] float top() const noexcept { return top_; }
    [[nodiscard]] double sum() const noexcept { return sum_; }

    /// The part of the sum that one block is.
    [[nodiscard]] double block_sum(const float* x) const noexcept {
        float maximum;
        return lanes_->exp_maxima(x, 1, scale_, reference_, limit_, &maximum).sum;
    }
    /// The part of the sum that one entry is.
    [[nodiscard]] double weight(float x) const noexcept {
        return std::exp2(static_cast<double>(x) * static_cast<double>(scale_) - offset_);
    }
    /// The logit of a given weight.
    [[nodiscard]] double logit_of(double weight) const noexcept {
        return (std::log2(weight) + offset_) / static_cast<double>(scale_);
    }

    /// log sum exp(x / temperature) of what was added, if in_range().
    [[nodiscard]] double value() const noexcept {
        if (any_nan()) return std::numeric_limits<double>::quiet_NaN();
        if (std::isinf(top_)) return static_cast<double>(top_);
        const double scale_error = static_cast<double>(scale_) * ln2 - 1 / temperature_;
        return ln2 * offset_ + std::log(sum_) - scale_error * static_cast<double>(top_);
    }

private:
    static constexpr double log2_e = 1.44269504088896341;

    /// Is there a reference, is it usable, and has no +inf made the sum infinite?
    [[nodiscard]] bool counting() const noexcept {
        return has_reference() && in_range_ && !std::isinf(top_);
    }
    [[nodiscard]] bool has_reference() const noexcept { return !std::isinf(reference_); }

    double move_reference() noexcept {
        const bool first = !has_reference();
        const double before = offset_;
        reference_ = top_;
        limit_ = top_ + 2 / scale_;
        // The largest term is 2^(what rounding takes off the offset): beyond this it might be 0 or
        // inf.
        in_range_ = std::abs(top_ * scale_) < 1e9F;
        offset_ = lanes_->rounds_once ? static_cast<double>(top_ * scale_)
                                      : static_cast<double>(top_) * static_cast<double>(scale_);
        const double shrunk = first ? 1.0 : std::exp2(before - offset_);
        sum_ *= shrunk;
        return shrunk;
    }

    const lane_kernels* lanes_;
    double temperature_;
    float scale_;
    bool in_range_, any_nan_ = false;
    float top_ = -std::numeric_limits<float>::infinity(), reference_ = top_, limit_ = top_;
    double offset_ = 0, sum_ = 0;
};

/// Calls add(first block, blocks, values) for the blocks [first, end), at most `most` at a time.
template <class Add>
void for_each_chunk(const row_blocks& blocks, std::size_t first, std::size_t end, std::size_t most,
                    Add add) {
    while (first < end) {
        const std::size_t count = blocks.run(first, end, most);
        add(first, count, blocks[first]);
        first += count;
    }
}

/// The maximum, NaN if any entry is NaN, -inf if there is none.
template <class Real>
[[nodiscard]] Real max_or_nan(std::span<const Real> x) noexcept {
    Real top = -std::numeric_limits<Real>::infinity();
    for (const Real value : x) {
        if (std::isnan(value)) return value;
        top = (std::max)(top, value);
    }
    return top;
}

/// The log-partition in double, entry by entry: slow, and right for every finite temperature.
template <class Real>
[[nodiscard]] double plain_log_sum_exp(std::span<const Real> x, double temperature) noexcept {
    const auto top = static_cast<double>(max_or_nan(x));
    if (!std::isfinite(top)) return top;
    double sum = 0;
    for (const Real value : x) sum += std::exp((static_cast<double>(value) - top) / temperature);
    return top / temperature + std::log(sum);
}

[[nodiscard]] inline double fast_log_sum_exp(logits_view row, double temperature,
                                             const lane_kernels& lanes = best_lanes()) noexcept {
    const row_blocks blocks{row};
    partition_sum sum{temperature, lanes};
    constexpr std::size_t at_once = 128;
    float maxima[at_once];
    for_each_chunk(
        blocks, 0, blocks.size(), at_once,
        [&](std::size_t, std::size_t count, const float* x) { sum.add(x, count, maxima); });
    return sum.in_range() ? sum.value() : plain_log_sum_exp(row, temperature);
}

}  // namespace kernel_detail

/// log sum_i exp(x_i / temperature).
///
/// float: one read; 2,048 exponentials at a time are summed in float, those sums in double.
/// double: the largest entry is taken out first, then Eigen's exponentials are summed, 256 at a
///         time.
///
/// shapes: x [n]; temperature > 0 and finite
/// edges:  empty or all -inf -> -inf; any NaN -> NaN; otherwise any +inf -> +inf
/// error:  absolute, against long double, for |x / temperature| up to 200 and n up to 262,144:
///         float at most 3e-7 at temperature 1 and 1e-6 at others (log2(e) / temperature is rounded
///         to float), double 1e-12; the table in tests/kernels/reference.hpp is what is tested.
///         float differs by as much between instruction sets.
/// cost:   one read (double: two), n exponentials; no allocation. Thread-safe.
template <class Real>
[[nodiscard]] double log_sum_exp(std::span<const Real> x, double temperature = 1.0) noexcept {
    if constexpr (std::is_same_v<Real, float>) {
        return kernel_detail::fast_log_sum_exp(x, temperature);
    } else {
        const double top = kernel_detail::max_or_nan(x);
        if (!std::isfinite(top)) return top / temperature;
        return top / temperature + std::log(kernel_detail::sum_of_exp(x, top, temperature));
    }
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
