#pragma once
// Tokens and the views that pass them around.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../config.hpp"

namespace tq {

/// One entry of a model's vocabulary: 0 <= id < vocab_size().
using token_id = std::int32_t;

/// A sequence somebody else owns.
using token_view = std::span<const token_id>;

/// A sequence that is owned.
using token_list = std::vector<token_id>;

/// One row of raw logits, [vocab_size]; owned by the model that returned it.
using logits_view = std::span<const float>;

/// True if `token` is in a vocabulary of this size: in [0, vocab_size).
[[nodiscard]] constexpr bool is_token(token_id token, std::size_t vocab_size) noexcept {
    return token >= 0 && static_cast<std::size_t>(token) < vocab_size;
}

/// True if `token` is one of `end_tokens`.
[[nodiscard]] inline bool is_end_token(token_id token, token_view end_tokens) noexcept {
    for (const token_id end : end_tokens)
        if (token == end) return true;
    return false;
}

}  // namespace tq
