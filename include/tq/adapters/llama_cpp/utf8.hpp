#pragma once
// Text from tokens, one at a time: a character may be spread over several tokens.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "../../core/token.hpp"
#include "../../core/utf8.hpp"
#include "model_file.hpp"

namespace tq::llama_cpp {

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
            const std::size_t size = character_size(std::string_view{held_}.substr(at));
            if (size == incomplete_character) break;
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
