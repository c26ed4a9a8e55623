#pragma once
// Counter-based random numbers: every number is a pure function of what it is *for*.
//
// A stateful generator makes results depend on the order in which work happens to be scheduled.
// Here a key is derived by folding in the coordinates of a decision (seed, prompt, step, candidate,
// rollout), and the number is read at an index (depth, token). Batch width, scheduling and threads
// cannot change it.

#include <array>
#include <cmath>
#include <cstdint>

#include "../config.hpp"

namespace tq {

/// The Philox-4x32-10 block function.
/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
[[nodiscard]] constexpr std::array<std::uint32_t, 4> philox4x32(
    std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) noexcept {
    constexpr std::uint64_t multiplier0 = 0xD2511F53, multiplier1 = 0xCD9E8D57;
    constexpr std::uint32_t weyl0 = 0x9E3779B9, weyl1 = 0xBB67AE85;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = multiplier0 * counter[0];
        const std::uint64_t product1 = multiplier1 * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product0)};
        key = {key[0] + weyl0, key[1] + weyl1};
    }
    return counter;
}

/// A node in the tree of random numbers. A value: copy it freely, share it between threads.
class random_key {
public:
    /// The root of a tree of numbers.
    constexpr explicit random_key(std::uint64_t seed = 0) noexcept : key_{seed} {}

    /// The key of a sub-decision. Different coordinates give statistically independent keys.
    [[nodiscard]] constexpr random_key fold_in(std::uint64_t coordinate) const noexcept {
        return random_key{block(coordinate, purpose_fold)};
    }

    /// 64 random bits at `index`.
    [[nodiscard]] constexpr std::uint64_t bits(std::uint64_t index) const noexcept {
        return block(index, purpose_bits);
    }

    /// Uniform on the open interval (0, 1), a multiple of 2^-53: never 0 and never 1.
    [[nodiscard]] constexpr double uniform(std::uint64_t index) const noexcept {
        return (static_cast<double>(bits(index) >> 12) + 0.5) * 0x1p-52;
    }

    /// Standard Gumbel noise: argmax(log p_i + gumbel(i)) is a sample of p. Always finite.
    [[nodiscard]] double gumbel(std::uint64_t index) const noexcept {
        return -std::log(-std::log(uniform(index)));
    }

    [[nodiscard]] constexpr std::uint64_t value() const noexcept { return key_; }
    friend constexpr bool operator==(random_key, random_key) = default;

private:
    static constexpr std::uint32_t purpose_fold = 0, purpose_bits = 1;

    [[nodiscard]] constexpr std::uint64_t block(std::uint64_t index,
                                                std::uint32_t purpose) const noexcept {
        const auto out =
            philox4x32({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                        purpose, 0},
                       {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
        return (std::uint64_t{out[1]} << 32) | out[0];
    }

    std::uint64_t key_;
};

}  // namespace tq
