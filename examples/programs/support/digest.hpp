#pragma once
// Short names for contents: two files with the same digest are the same.

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <tq/core/error.hpp>

namespace digest {

/// 64 bits. Every step is a bijection of the state, so that a single word that differs always shows; others
/// are missed with probability 2^-64. It finds mistakes, not forgeries.
class hasher {
public:
    /// All calls but the last must have a multiple of 8 bytes.
    void add(std::string_view bytes) {
        size_ += bytes.size();
        for (; bytes.size() >= 8; bytes.remove_prefix(8)) mix(word(bytes.substr(0, 8)));
        if (!bytes.empty()) mix(word(bytes));
    }
    /// 16 hexadecimal digits.
    [[nodiscard]] std::string text() const {
        hasher end = *this;
        end.mix(size_);
        end.mix(0);
        return fmt::format("{:016x}", end.state_ ^ (end.state_ >> 29));
    }

private:
    static std::uint64_t word(std::string_view bytes) {
        std::uint64_t value = 0;
        std::memcpy(&value, bytes.data(), bytes.size());
        return value;
    }
    void mix(std::uint64_t value) {
        state_ = (std::rotl(state_, 25) ^ value) * 0x9E3779B97F4A7C15U;
    }
    std::uint64_t state_ = 0x243F6A8885A308D3U, size_ = 0;
};

inline std::string of_text(std::string_view text) {
    hasher all;
    all.add(text);
    return all.text();
}

/// Of the contents. Throws invalid_option if they cannot be read.
inline std::string of_file(const std::filesystem::path& file) {
    std::ifstream stream{file, std::ios::binary};
    std::string block(std::size_t{1} << 20, '\0');
    hasher all;
    while (stream.read(block.data(), static_cast<std::streamsize>(block.size())) ||
           stream.gcount() > 0)
        all.add({block.data(), static_cast<std::size_t>(stream.gcount())});
    if (!stream.eof()) throw tq::invalid_option{"cannot read " + file.string()};
    return all.text();
}

}  // namespace digest
