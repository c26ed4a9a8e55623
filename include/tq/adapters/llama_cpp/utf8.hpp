#pragma once
// Text from tokens, one at a time: a character may be spread over several tokens.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "../../core/token.hpp"
#include "model_file.hpp"

namespace tq::llama_cpp {

namespace detail {

inline constexpr std::size_t incomplete_character = static_cast<std::size_t>(-1);

/// Size of the character that `bytes` begins with; 0 = none can; or incomplete_character. The
/// second byte's range excludes overlong forms, surrogates and anything above U+10FFFF (Unicode
/// Standard, table 3-7).
[[nodiscard]] inline std::size_t character_size(std::string_view bytes) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    for (std::size_t i = 1; i < size; ++i) {
        if (i == bytes.size()) return incomplete_character;
        const unsigned char lo = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
        const unsigned char hi = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
        if (byte(i) < lo || byte(i) > hi) return 0;
    }
    return size;
}

}  // namespace detail

/// Passes bytes on as whole UTF-8 characters. A started character is held back until it is whole;
/// bytes that cannot become one are replaced by U+FFFD.
class utf8_buffer {
public:
    /// What is whole after `bytes`; may be empty.
    [[nodiscard]] std::string push(std::string_view bytes) {
        held_ += bytes;
        std::string text;
        std::size_t at = 0;
        while (at < held_.size()) {
            const std::size_t size = detail::character_size(std::string_view{held_}.substr(at));
            if (size == detail::incomplete_character) break;
            if (size == 0)
                text += replacement, ++at;
            else
                text.append(held_, at, size), at += size;
        }
        held_.erase(0, at);
        return text;
    }

    /// What is left at the end: U+FFFD if a character was never completed, else empty.
    [[nodiscard]] std::string finish() {
        return std::exchange(held_, {}).empty() ? std::string{} : std::string{replacement};
    }

private:
    static constexpr const char* replacement = "\xEF\xBF\xBD";

    std::string held_;  // at most 3 bytes between calls
};

/// Turns an answer into text while it is being made.
class utf8_stream {
public:
    /// source: the model whose tokens come.
    explicit utf8_stream(model_file source) : model_{std::move(source)} {}

    /// The text that `token` completes; may be empty.
    [[nodiscard]] std::string push(token_id token) { return buffer_.push(model_.piece(token)); }
    /// What is left at the end: bytes of an unfinished character.
    [[nodiscard]] std::string finish() { return buffer_.finish(); }

private:
    model_file model_;
    utf8_buffer buffer_;
};

}  // namespace tq::llama_cpp
