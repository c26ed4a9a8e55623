#include <tq/kernels/gumbel.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"
#include "support/statistics.hpp"

using tq::gumbel_field;
using tq::random_key;
using tq::scored_survivor;
using row_of = std::vector<float>;
using survivors_of = std::vector<scored_survivor>;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr double wide = std::numeric_limits<double>::infinity();

double slow_score(const row_of& row, std::size_t i, const gumbel_field* field, double temperature) {
    const auto x = static_cast<double>(row[i]);
    return std::isinf(x) ? x : x / temperature + (field ? (*field)(static_cast<int>(i)) : 0.0);
}

tq::token_id slow_argmax(const row_of& row, const gumbel_field& field, double temperature) {
    double best = -wide;
    tq::token_id token = tq::no_token;
    for (std::size_t i = 0; i < row.size(); ++i)
        if (const double s = slow_score(row, i, &field, temperature); s > best) {
            best = s;
            token = static_cast<tq::token_id>(i);
        }
    return token;
}

survivors_of slow_survivors(const row_of& row, const gumbel_field* field, double temperature,
                            double width) {
    survivors_of all;
    double best = -wide;
    for (std::size_t i = 0; i < row.size(); ++i) {
        all.push_back({static_cast<tq::token_id>(i), slow_score(row, i, field, temperature)});
        best = std::max(best, all.back().score);
    }
    std::erase_if(all, [&](auto s) {
        return s.score == -wide || (width < wide && !(s.score >= best - width));
    });
    std::ranges::stable_sort(all, [](auto a, auto b) { return a.score > b.score; });
    return all;
}

survivors_of survivors(const row_of& row, const gumbel_field* field, double temperature,
                       double width) {
    survivors_of best(row.size() + 1, {-7, -7});
    const std::size_t count = tq::gumbel_survivors(row, field, temperature, width, best);
    best.resize(count);
    return best;
}

/// Rows as they come: flat, peaked, a heavy right tail, few levels, masked, huge and tiny.
std::vector<row_of> rows(std::size_t size, std::uint64_t seed) {
    std::vector<row_of> all{tq::test::random_row<float>(size, seed, 0, 0.1),
                            tq::test::random_row<float>(size, seed + 1, -40, 20)};
    row_of tail = tq::test::random_row<float>(size, seed + 2, 0, 1);
    for (float& x : tail) x = -3 * std::log(x + 1e-6F) - 80;
    row_of levels = tq::test::random_row<float>(size, seed + 3, 0, 4);
    for (float& x : levels) x = std::floor(x);
    row_of masked = tail;
    for (std::size_t i = 0; i < size; ++i)
        if (i % 5 != 0) masked[i] = -inf;
    row_of huge = tq::test::random_row<float>(size, seed + 4, -3e38, -1e38);
    row_of tiny = tq::test::random_row<float>(size, seed + 5, -1e-40, 1e-40);
    row_of rising = all[1];
    std::ranges::sort(rising);
    for (auto* row : {&tail, &levels, &masked, &huge, &tiny, &rising}) all.push_back(*row);
    return all;
}

constexpr std::size_t sizes[] = {1, 2, 4, 5, 127, 128, 129, 300, 1000, 5000};
constexpr double temperatures[] = {1.0, 0.3, 7.5, 1e-3, 1e-35, 1e35, wide};

std::vector<double> softmax(const row_of& row, double temperature) {
    const long double z = tq::test::slow_log_sum_exp<float>(row, temperature);
    std::vector<double> p(row.size());
    for (std::size_t i = 0; i < p.size(); ++i)
        p[i] = static_cast<double>(
            std::exp(static_cast<long double>(row[i]) / static_cast<long double>(temperature) - z));
    return p;
}

double correlation(auto x, auto y, int n) {
    double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
    for (int i = 0; i < n; ++i) {
        const double a = x(i), b = y(i);
        sx += a, sy += b, sxx += a * a, syy += b * b, sxy += a * b;
    }
    return (sxy - sx * sy / n) / std::sqrt((sxx - sx * sx / n) * (syy - sy * sy / n));
}

}  // namespace

TEST_CASE("gumbel_field: the same values everywhere") {
    // From a second implementation, in Python. A change changes every answer sampled with a seed.
    const gumbel_field field{random_key{1}};
    CHECK(field.hash(0) == 0x4ea3d801U);
    CHECK(field.hash(1) == 0xa685e132U);
    CHECK(gumbel_field{random_key{2}}.hash(49151) == 0xd4661a1aU);
    static_assert(gumbel_field{random_key{1}}.hash(7) == gumbel_field{random_key{1}}.hash(7));
}

TEST_CASE("gumbel_field: the noise is -log(-log u) of its bits, finite at both ends") {
    const gumbel_field field{random_key{3}};
    for (tq::token_id t = 0; t < 1000; ++t) {
        const long double u = (static_cast<long double>(field.hash(t)) + 0.5L) / 4294967296.0L;
        CHECK(tq::test::close(field(t), static_cast<double>(-std::log(-std::log(u))), 1e-13));
    }
}

TEST_CASE("gumbel_field: bits are uniform over tokens, high and low ones") {
    for (const std::uint64_t seed : {0U, 1U, 77U})
        for (const int shift : {24, 16, 8, 0}) {
            const gumbel_field field{random_key{seed}};
            std::vector<std::size_t> counts(256);
            for (tq::token_id t = 0; t < 200'000; ++t) ++counts[(field.hash(t) >> shift) & 255U];
            CHECK(tq::test::chi_square(counts, std::vector<double>(256, 1.0 / 256)).plausible());
        }
}

TEST_CASE("gumbel_field: bits are uniform over keys, for one token") {
    for (const tq::token_id token : {0, 1, 2, 49151})
        for (const bool folded : {true, false}) {
            std::vector<std::size_t> counts(256);
            for (std::uint64_t k = 0; k < 100'000; ++k) {
                const auto key = folded ? random_key{5}.fold_in(k) : random_key{k};
                ++counts[gumbel_field{key}.hash(token) >> 24];
            }
            CHECK(tq::test::chi_square(counts, std::vector<double>(256, 1.0 / 256)).plausible());
        }
}

TEST_CASE("gumbel_field: neighbouring tokens are independent, at every distance and pairwise") {
    const gumbel_field field{random_key{9}};
    constexpr int n = 200'000;
    for (const int lag : {1, 2, 3, 4, 8, 16, 64, 128, 256, 1024, 4096}) {
        const double r =
            correlation([&](int i) { return field(i); }, [&](int i) { return field(i + lag); }, n);
        CHECK(std::abs(r) < 4.5 / std::sqrt(n));
        std::vector<std::size_t> counts(256);
        for (int i = 0; i < n; ++i)
            ++counts[(field.hash(i) >> 28) * 16 + (field.hash(i + lag) >> 28)];
        CHECK(tq::test::chi_square(counts, std::vector<double>(256, 1.0 / 256)).plausible());
    }
}

TEST_CASE("gumbel_field: keys that differ by fold_in or by one are independent") {
    constexpr int n = 200'000;
    for (const bool folded : {true, false}) {
        const random_key base{11}, one = folded ? base.fold_in(0) : random_key{12},
                                   two = folded ? base.fold_in(1) : random_key{13};
        const gumbel_field a{one}, b{two};
        for (const int lag : {0, 1, 2, 3, 7, 64}) {
            const double r =
                correlation([&](int i) { return a(i); }, [&](int i) { return b(i + lag); }, n);
            CHECK(std::abs(r) < 4.5 / std::sqrt(n));
        }
        std::vector<std::size_t> counts(256);
        for (int i = 0; i < n; ++i) ++counts[(a.hash(i) >> 28) * 16 + (b.hash(i) >> 28)];
        CHECK(tq::test::chi_square(counts, std::vector<double>(256, 1.0 / 256)).plausible());
    }
}

TEST_CASE("gumbel_field: independent of the uniform numbers of the same key") {
    constexpr int n = 100'000;
    const double r =
        correlation([](int k) { return gumbel_field{random_key{std::uint64_t(k)}}(0); },
                    [](int k) { return random_key{std::uint64_t(k)}.uniform(0); }, n);
    CHECK(std::abs(r) < 4.5 / std::sqrt(n));
}

TEST_CASE("gumbel_argmax: draws follow the softmax at every temperature") {
    const row_of row = tq::test::random_row<float>(12, 1, -3, 1);
    for (const double temperature : {0.3, 1.0, 2.5}) {
        std::vector<std::size_t> counts(row.size());
        for (std::uint64_t i = 0; i < 40'000; ++i)
            ++counts[static_cast<std::size_t>(
                tq::gumbel_argmax(row, gumbel_field{random_key{4}.fold_in(i)}, temperature))];
        CHECK(tq::test::chi_square(counts, softmax(row, temperature)).plausible());
    }
}

TEST_CASE("gumbel_argmax: draws follow the softmax over many blocks") {
    row_of row = tq::test::random_row<float>(2000, 2, -6, -4);
    row[3] = 0, row[300] = 0.5F, row[1999] = 0.2F;
    std::vector<std::size_t> counts(row.size());
    for (std::uint64_t i = 0; i < 20'000; ++i)
        ++counts[static_cast<std::size_t>(
            tq::gumbel_argmax(row, gumbel_field{random_key{6}.fold_in(i)}))];
    CHECK(tq::test::chi_square(counts, softmax(row, 1)).plausible());
}

TEST_CASE("gumbel_argmax: the same as the plain loop over all tokens") {
    for (const std::size_t size : sizes)
        for (const row_of& row : rows(size, size))
            for (const double temperature : temperatures) {
                const gumbel_field field{random_key{size}};
                INFO("size " << size << ", temperature " << temperature);
                CHECK(tq::gumbel_argmax(row, field, temperature) ==
                      slow_argmax(row, field, temperature));
            }
}

TEST_CASE("gumbel_argmax: the same as the plain loop for many keys") {
    for (const row_of& row : rows(700, 21))
        for (std::uint64_t i = 0; i < 100; ++i) {
            const gumbel_field field{random_key{i}};
            CHECK(tq::gumbel_argmax(row, field) == slow_argmax(row, field, 1));
        }
}

TEST_CASE("gumbel_argmax and gumbel_survivors: NaN anywhere, nothing possible, +inf") {
    const gumbel_field field{random_key{8}};
    for (const double temperature : {0.0, 1.0, 1e-35, wide}) {
        for (const std::size_t size : {1U, 19U, 128U, 300U})
            for (const std::size_t where : {std::size_t{0}, size / 2, size - 1}) {
                row_of row(size, 1.0F);
                row[where] = not_a_number;
                CHECK(tq::gumbel_argmax(row, field, temperature) == tq::no_token);
                CHECK(survivors(row, &field, temperature, 1).empty());
                CHECK(survivors(row, nullptr, temperature, wide).empty());
                row[0] = inf;
                CHECK((where == 0 || tq::gumbel_argmax(row, field, temperature) == tq::no_token));
            }
        CHECK(tq::gumbel_argmax({}, field, temperature) == tq::no_token);
        CHECK(survivors({}, &field, temperature, 1).empty());
        CHECK(tq::gumbel_argmax(row_of(200, -inf), field, temperature) == tq::no_token);
        CHECK(survivors(row_of(200, -inf), &field, temperature, wide).empty());
        row_of row = tq::test::random_row<float>(300, 1, -1, 1);
        row[270] = row[130] = inf;
        CHECK(tq::gumbel_argmax(row, field, temperature) == 130);
        if (temperature > 0)
            CHECK(survivors(row, &field, temperature, 3) == survivors_of{{130, wide}, {270, wide}});
    }
}

TEST_CASE("gumbel_argmax: temperature 0 is argmax") {
    CHECK(tq::gumbel_argmax(row_of{1, 3, 3, 2}, gumbel_field{random_key{1}}, 0) == 1);
}

TEST_CASE("gumbel_survivors: temperature 0 or a width that is no width is no race") {
    CHECK(survivors({1, 2}, nullptr, 0, 1).empty());
    CHECK(survivors({1, 2}, nullptr, 1, -1).empty());
    CHECK(survivors({1, 2}, nullptr, 1, std::nan("")).empty());
}

TEST_CASE("gumbel_survivors: the same as the plain loop over all tokens") {
    for (const std::size_t size : sizes)
        for (const row_of& row : rows(size, size))
            for (const double temperature : temperatures)
                for (const double width : {0.0, 0.5, 4.0, 30.0, wide}) {
                    const gumbel_field field{random_key{size}};
                    INFO("size " << size << ", temperature " << temperature << ", width " << width);
                    CHECK(survivors(row, &field, temperature, width) ==
                          slow_survivors(row, &field, temperature, width));
                    CHECK(survivors(row, nullptr, temperature, width) ==
                          slow_survivors(row, nullptr, temperature, width));
                }
}

TEST_CASE("gumbel_survivors: with too little room the count is true and the best are kept") {
    for (const row_of& row : rows(1000, 31))
        for (const std::size_t room : {0U, 1U, 2U, 10U}) {
            const gumbel_field field{random_key{room}};
            const survivors_of all = slow_survivors(row, &field, 1, 3);
            survivors_of best(room, {-7, -7});
            CHECK(tq::gumbel_survivors(row, &field, 1, 3, best) == all.size());
            best.resize(std::min(room, all.size()));
            CHECK(best == survivors_of(all.begin(), all.begin() + std::ptrdiff_t(best.size())));
        }
}

TEST_CASE("gumbel_survivors: the winner of any tilt within the width is among them") {
    const row_of row = tq::test::random_row<float>(600, 41, -4, 4);
    for (std::uint64_t trial = 0; trial < 200; ++trial) {
        const gumbel_field field{random_key{trial}};
        for (const double width : {0.1, 1.0, 5.0}) {
            const row_of q = tq::test::random_row<float>(row.size(), trial + 1000, 0, width);
            std::size_t winner = 0;
            double best = -wide;
            for (std::size_t i = 0; i < row.size(); ++i)
                if (const double s = slow_score(row, i, &field, 1) + static_cast<double>(q[i]);
                    s > best) {
                    best = s;
                    winner = i;
                }
            const auto kept = survivors(row, &field, 1, width);
            CHECK(std::ranges::any_of(
                kept, [&](auto s) { return s.token == static_cast<tq::token_id>(winner); }));
        }
    }
}
