#pragma once
// Bytes as UTF-8 characters.

#include <cstddef>
#include <string_view>

namespace tq {

/// What character_size says of the beginning of a character.
inline constexpr std::size_t incomplete_character = static_cast<std::size_t>(-1);

/// Size of the UTF-8 character that `bytes`, not empty, begins with; 0 = none can; or
/// incomplete_character. The second byte's range excludes overlong forms, surrogates and anything
/// above U+10FFFF (Unicode Standard, table 3-7).
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

}  // namespace tq
