#include <tq/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using tq::random_key;
using block = std::array<std::uint32_t, 4>;

TEST_CASE("philox4x32: the known answers of the authors' Random123 library") {
    constexpr std::uint32_t ones = 0xffffffff;
    STATIC_REQUIRE(tq::philox4x32({0, 0, 0, 0}, {0, 0}) ==
                   block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    STATIC_REQUIRE(tq::philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
                   block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    STATIC_REQUIRE(tq::philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                                  {0xa4093822, 0x299f31d0}) ==
                   block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random_key: golden values, so that a seed gives the same text in every version") {
    STATIC_REQUIRE(random_key{0}.bits(0) == 0xf08d6eaa844515e1);
    STATIC_REQUIRE(random_key{42}.bits(3) == 0xae3a5abf1e8dc7c5);
    STATIC_REQUIRE(random_key{42}.fold_in(7).value() == 0x68784c855bbd83b1);
    STATIC_REQUIRE(random_key{42}.fold_in(7).fold_in(std::uint64_t{1} << 40).bits(3) ==
                   0x644b5632411842c8);
    STATIC_REQUIRE(random_key{~std::uint64_t{0}}.bits(~std::uint64_t{0}) == 0x340725878bcd8398);
    STATIC_REQUIRE(random_key{0}.uniform(0) == 0x1.e11add55088a3p-1);
}

TEST_CASE("random_key: equal keys give equal numbers, in any order") {
    const random_key key = random_key{5}.fold_in(1);
    const std::uint64_t later = key.bits(9), first = key.bits(0);
    CHECK(random_key{5}.fold_in(1) == key);
    CHECK(random_key{5}.fold_in(1).bits(0) == first);
    CHECK(key.bits(9) == later);
    CHECK(first != later);
}

TEST_CASE("uniform: inside the open interval, with the moments of a uniform number") {
    constexpr std::size_t n = 40'000;
    const random_key key{1};
    double sum = 0, squares = 0, lowest = 1, highest = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double u = key.uniform(i);
        lowest = std::min(lowest, u);
        highest = std::max(highest, u);
        sum += u;
        squares += (u - 0.5) * (u - 0.5);
    }
    CHECK(lowest > 0);
    CHECK(highest < 1);
    // Standard errors: sqrt(1/12 / n) of the mean, sqrt(1/180 / n) of the variance.
    CHECK(std::abs(sum / n - 0.5) < 4 * std::sqrt(1.0 / 12 / n));
    CHECK(std::abs(squares / n - 1.0 / 12) < 4 * std::sqrt(1.0 / 180 / n));
}

TEST_CASE("gumbel: finite, with Euler's constant as mean and pi^2/6 as variance") {
    constexpr std::size_t n = 40'000;
    constexpr double pi = 3.14159265358979323846, euler = 0.57721566490153286;
    const random_key key{2};
    double sum = 0, squares = 0;
    bool finite = true;
    for (std::size_t i = 0; i < n; ++i) {
        const double g = key.gumbel(i);
        finite = finite && std::isfinite(g);
        sum += g;
        squares += (g - euler) * (g - euler);
    }
    const double variance = pi * pi / 6;
    CHECK(finite);
    CHECK(std::abs(sum / n - euler) < 4 * std::sqrt(variance / n));
    // The fourth central moment is 27/5 variance^2.
    CHECK(std::abs(squares / n - variance) < 4 * variance * std::sqrt(4.4 / n));
}

TEST_CASE("fold_in: thousands of neighbouring coordinates give as many different keys") {
    std::vector<std::uint64_t> keys;
    for (std::uint64_t prompt = 0; prompt < 8; ++prompt)
        for (std::uint64_t position = 0; position < 32; ++position)
            for (std::uint64_t token = 0; token < 32; ++token)
                keys.push_back(
                    random_key{3}.fold_in(prompt).fold_in(position).fold_in(token).value());
    std::ranges::sort(keys);
    CHECK(std::ranges::adjacent_find(keys) == keys.end());
}

TEST_CASE("fold_in: the order of coordinates matters, and folding is not drawing") {
    const random_key key{4};
    CHECK(key.fold_in(1).fold_in(2) != key.fold_in(2).fold_in(1));
    CHECK(key.fold_in(1) != key);
    CHECK(key.fold_in(1).value() != key.bits(1));
}

TEST_CASE("fold_in: numbers of neighbouring keys are not correlated") {
    constexpr std::size_t n = 10'000;
    for (const std::uint64_t distance : {1U, 2U, 256U}) {
        double neighbours = 0, successors = 0;
        for (std::uint64_t i = 0; i < n; ++i) {
            const random_key a = random_key{6}.fold_in(i), b = random_key{6}.fold_in(i + distance);
            neighbours += 12 * (a.uniform(0) - 0.5) * (b.uniform(0) - 0.5);
            successors += 12 * (a.uniform(0) - 0.5) * (a.uniform(distance) - 0.5);
        }
        // Each product has mean 0 and variance 1 if they are independent.
        CHECK(std::abs(neighbours / n) < 4 / std::sqrt(double{n}));
        CHECK(std::abs(successors / n) < 4 / std::sqrt(double{n}));
    }
}
