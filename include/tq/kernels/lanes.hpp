#pragma once
// The vector loops under the kernels, and the choice of instruction set at run time.
//
// A header-only library is compiled with its user's flags, and those are mostly -O2 alone: 16-byte
// vectors, a fifth of the machine's speed. So the few loops that touch every entry of a row are
// compiled once for every instruction set worth having, each in a namespace and a target region of
// its own, and picked by a table of function pointers. On other processors than x86 there is one
// table, of 16-byte vector extensions (NEON on Arm, chosen at compile time).
//
// Why like this: Highway and simdjson include their code once per target under a target region, as
// here; xsimd compiles one file per target with its own flags, which a header-only library cannot.
// A target attribute on a function template does not work: g++ splits vectors by the flags in force
// where the template stands, before it inlines it.

#include <cstddef>
#include <cstdint>
#include <limits>

#include "eigen.hpp"
#include "x86.hpp"

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "tq relies on IEEE infinities and NaN: compile without -ffinite-math-only"
#endif

#ifdef __x86_64__
#define TQSTAR_DISPATCH_X86
#endif

namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail {

inline constexpr std::size_t block_size = 128;  // entries that are looked at together or not at all
inline constexpr std::size_t chunk_blocks = 16;  // blocks behind one running sum of a sampler

/// Sum of exponentials and largest entry of some blocks, and how many blocks these are.
struct exp_sum {
    double sum;
    float top;
    std::size_t blocks;
};

/// Whose noise: the token of the first entry, and the halves of the field's key.
struct noise_key {
    std::uint32_t first, low, high;
};

/// The bits of a token's noise: two integer finalisers, the key's halves added before each.
/// Source: Wellons, "Prospecting for hash functions" (lowbias32); Appleby's MurmurHash3 (fmix32).
constexpr std::uint32_t mixed_bits(std::uint32_t x, std::uint32_t low,
                                   std::uint32_t high) noexcept {
    x += low;
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    x ^= x >> 16;
    x += high;
    x ^= x >> 16;
    x *= 0x85ebca6bU;
    x ^= x >> 13;
    x *= 0xc2b2ae35U;
    return x ^ (x >> 16);
}

// Bound of the noise -log(-log u) <= -log(1 - u): log2 of 1 - u = y / 2^31 is at least the bits of
// the float y, read as an integer, / 2^23 - 127 - 31 (linear between powers of two).
inline constexpr double ln2 = 0.693147180559945309;
inline constexpr float noise_slope = static_cast<float>(ln2 * 0x1p-23);
inline constexpr float noise_offset = static_cast<float>(ln2 * (127 + 31));

/// The bound for one token's bits.
inline float noise_bound(std::uint32_t hash) noexcept {
    const auto below_one = static_cast<float>(static_cast<std::int32_t>(~hash >> 1));
    const auto exponent = static_cast<float>(__builtin_bit_cast(std::int32_t, below_one));
    return noise_offset - exponent * noise_slope;
}

/// Integers in the order of the floats (no NaN), and back.
constexpr std::int64_t float_order(float x) noexcept {
    const auto bits = __builtin_bit_cast(std::int32_t, x);
    return bits >= 0 ? bits : std::int64_t{(std::numeric_limits<std::int32_t>::min)()} - bits;
}
constexpr float float_of_order(std::int64_t order) noexcept {
    return __builtin_bit_cast(
        float,
        static_cast<std::int32_t>(
            order >= 0 ? order : std::int64_t{(std::numeric_limits<std::int32_t>::min)()} - order));
}

/// The loops of one instruction set; lanes.inc says what each does.
struct lane_kernels {
    std::size_t lanes;
    bool rounds_once;  // exponents are x * scale - float(reference * scale), rounded once
    void (*maxima)(const float* x, std::size_t blocks, float* maxima) noexcept;
    bool (*maxima_nan)(const float* x, std::size_t blocks, float* maxima) noexcept;
    exp_sum (*exp_maxima)(const float* x, std::size_t blocks, float scale, float reference,
                          float limit, float* maxima) noexcept;
    bool (*noise_maxima)(const float* x, std::size_t blocks, float scale, noise_key key,
                         float* maxima) noexcept;
    float (*kth_bound)(float* values, std::size_t size, std::size_t k) noexcept;
    std::size_t (*above)(const float* values, std::size_t size, float bar,
                         std::uint32_t* indices) noexcept;
};

namespace lanes_4 {
#define TQSTAR_LANES 4
#include "lanes.inc"
#undef TQSTAR_LANES
}  // namespace lanes_4

#ifdef TQSTAR_DISPATCH_X86

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi,bmi2,popcnt"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2,popcnt")
#endif
namespace lanes_8 {
#define TQSTAR_LANES 8
#include "lanes.inc"
#undef TQSTAR_LANES
}  // namespace lanes_8
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi,bmi2,popcnt"))), \
    apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi,bmi2,popcnt")
#endif
namespace lanes_16 {
#define TQSTAR_LANES 16
#include "lanes.inc"
#undef TQSTAR_LANES
}  // namespace lanes_16
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

/// The tables this processor can run, the widest first; returns how many.
inline std::size_t runnable_lanes(const lane_kernels* (&tables)[3]) noexcept {
    std::size_t count = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        tables[count++] = &lanes_16::kernels;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2"))
        tables[count++] = &lanes_8::kernels;
    tables[count++] = &lanes_4::kernels;
    return count;
}

#else

inline std::size_t runnable_lanes(const lane_kernels* (&tables)[3]) noexcept {
    tables[0] = &lanes_4::kernels;
    return 1;
}

#endif

/// The widest table that this processor can run.
inline const lane_kernels& best_lanes() noexcept {
    static const lane_kernels& best = []() -> const lane_kernels& {
        const lane_kernels* tables[3] = {};
        runnable_lanes(tables);
        return *tables[0];
    }();
    return best;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail
