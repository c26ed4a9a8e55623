#pragma once
// A row as blocks of 128 entries.

#include <algorithm>
#include <cstddef>
#include <limits>

#include "../core/token.hpp"
#include "lanes.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail {

/// Blocks of a row. The last one, if it is incomplete, is a copy padded with -inf.
class row_blocks {
public:
    explicit row_blocks(logits_view row) noexcept : row_{row}, whole_{row.size() / block_size} {
        const std::size_t rest = row.size() % block_size;
        if (rest == 0) return;
        std::copy_n(row.data() + whole_ * block_size, rest, padded_);
        std::fill(padded_ + rest, padded_ + block_size, -std::numeric_limits<float>::infinity());
    }
    row_blocks(const row_blocks&) = delete;

    [[nodiscard]] std::size_t size() const noexcept {
        return whole_ + (row_.size() % block_size == 0 ? 0 : 1);
    }
    [[nodiscard]] const float* operator[](std::size_t block) const noexcept {
        return block < whole_ ? row_.data() + block * block_size : padded_;
    }

    /// How many blocks from `first` on lie behind each other in memory: at most `most`, and not
    /// beyond `end`.
    [[nodiscard]] std::size_t run(std::size_t first, std::size_t end,
                                  std::size_t most) const noexcept {
        return first < whole_ ? (std::min)({most, whole_ - first, end - first}) : 1;
    }

private:
    logits_view row_;
    std::size_t whole_;
    float padded_[block_size];
};

}  // namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail
