#pragma once
// Bytes as characters: what is UTF-8, and what a terminal may be shown.

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <tq/core/utf8.hpp>

namespace utf8 {

/// Bytes of the character that `text` begins with; 0 if it begins with none.
inline std::size_t first_character(std::string_view text) {
    const std::size_t size = text.empty() ? 0 : tq::character_size(text);
    return size == tq::incomplete_character ? 0 : size;
}

/// The first byte that is no UTF-8; npos if all are.
inline std::size_t first_wrong(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = first_character(text.substr(i));
        if (size == 0) return i;
        i += size;
    }
    return std::string_view::npos;
}

/// Is it a control character, of which a text can make commands to a terminal, or one that turns the
/// direction of the text? Line breaks and tabs are none.
inline bool is_command(unsigned code) {
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0) ||
           (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/// As it may be written to a terminal: commands are spelled out (\x1b, \u202e), as are bytes that are no
/// UTF-8. `json`: the text is JSON, which spells its strings' characters \u001b.
inline std::string shown(std::string_view text, bool json = false) {
    std::string result;
    for (std::size_t i = 0; i < text.size();) {
        const std::string_view rest = text.substr(i);
        const std::size_t size = first_character(rest);
        const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(rest[at]); };
        const unsigned code =
            size == 2   ? (byte(0) & 0x1FU) << 6 | (byte(1) & 0x3FU)
            : size == 3 ? (byte(0) & 0x0FU) << 12 | (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU)
                        : byte(0);
        if (size == 0 || (size < 4 && is_command(code)))
            result += json || code > 0xFF ? fmt::format("\\u{:04x}", code)
                                          : fmt::format("\\x{:02x}", code);
        else
            result += rest.substr(0, size);
        i += size == 0 ? 1 : size;
    }
    return result;
}

}  // namespace utf8
