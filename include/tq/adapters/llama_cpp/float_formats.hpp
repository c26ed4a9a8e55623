#pragma once
// The floats of files, whatever their width, as float.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace tq::llama_cpp::detail {

/// IEEE half precision to float; exact.
[[nodiscard]] inline float half_to_float(std::uint16_t bits) noexcept {
    const bool negative = (bits >> 15) != 0;
    const int exponent = (bits >> 10) & 31;
    const int mantissa = bits & 1023;
    float value = 0;
    if (exponent == 31)
        value = mantissa == 0 ? std::numeric_limits<float>::infinity()
                              : std::numeric_limits<float>::quiet_NaN();
    else if (exponent == 0)
        value = std::ldexp(static_cast<float>(mantissa), -24);
    else
        value = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    return negative ? -value : value;
}

/// Little-endian unsigned number of `size` <= 8 bytes.
[[nodiscard]] inline std::uint64_t little_endian(const char* bytes, std::size_t size) noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = size; i-- > 0;)
        value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    return value;
}

/// Bytes of one value of a type by safetensors' names; 0 = a type that is not read here.
[[nodiscard]] inline std::size_t float_width(const std::string& dtype) {
    if (dtype == "F16" || dtype == "BF16") return 2;
    return dtype == "F64" ? 8 : dtype == "F32" ? 4 : 0;
}

/// Rounded to float, if the type is wider.
[[nodiscard]] inline float float_value(const char* bytes, const std::string& dtype) {
    if (dtype == "F64") return static_cast<float>(std::bit_cast<double>(little_endian(bytes, 8)));
    if (dtype == "F32")
        return std::bit_cast<float>(static_cast<std::uint32_t>(little_endian(bytes, 4)));
    const auto bits = static_cast<std::uint16_t>(little_endian(bytes, 2));
    if (dtype == "F16") return half_to_float(bits);
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

}  // namespace tq::llama_cpp::detail
