#include <tq/kernels/sample.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"
#include "support/statistics.hpp"

using tq::row_sampler;
using tq::sampling_rule;
using row_of = std::vector<float>;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr double smallest_u = 1e-300, largest_u = 1 - 0x1p-53;

/// The rule's probabilities by its definition: sort, cut, normalise.
std::vector<double> exact_probabilities(const row_of& row, sampling_rule rule) {
    std::vector<std::size_t> order(row.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::stable_sort(order, [&](auto a, auto b) { return row[a] > row[b]; });
    std::vector<double> weights(row.size()), kept(row.size());
    for (std::size_t i = 0; i < row.size(); ++i)
        weights[i] = std::exp((static_cast<double>(row[i]) - static_cast<double>(row[order[0]])) /
                              rule.temperature);
    const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
    double sum = 0;
    for (const std::size_t i : order) {
        if (sum >= rule.top_p * total) break;
        kept[i] = weights[i];
        sum += weights[i];
    }
    for (double& p : kept) p /= sum;
    return kept;
}

std::vector<std::size_t> draws(const row_of& row, sampling_rule rule, std::size_t count,
                               std::uint64_t seed) {
    row_sampler sampler{rule};
    std::vector<std::size_t> counts(row.size());
    for (std::size_t i = 0; i < count; ++i)
        ++counts[static_cast<std::size_t>(sampler(row, tq::random_key{seed}.uniform(i)))];
    return counts;
}

void check_draws(const row_of& row, sampling_rule rule, std::size_t count, std::uint64_t seed) {
    const auto result =
        tq::test::chi_square(draws(row, rule, count, seed), exact_probabilities(row, rule));
    INFO("temperature " << rule.temperature << ", top_p " << rule.top_p << ": statistic "
                        << result.statistic << ", limit " << result.limit());
    CHECK(result.plausible());
}

/// The tokens that can be drawn at all, found on a fine grid of u.
std::vector<std::size_t> support_of(const row_of& row, sampling_rule rule) {
    row_sampler sampler{rule};
    std::vector<std::size_t> tokens;
    for (int i = 0; i < 1000; ++i)
        tokens.push_back(static_cast<std::size_t>(sampler(row, (i + 0.5) / 1000)));
    std::ranges::sort(tokens);
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    return tokens;
}

}  // namespace

TEST_CASE("row_sampler: draws follow the softmax at every temperature") {
    const row_of row = tq::test::random_row<float>(12, 1, -3, 1);
    for (const double temperature : {0.3, 1.0, 2.5})
        check_draws(row, {.temperature = temperature, .top_p = 1}, 20'000, 10);
}

TEST_CASE("row_sampler: draws follow the softmax over several blocks and a tail") {
    row_of row = tq::test::random_row<float>(600, 2, -6, -4);
    row[3] = 0;
    row[300] = 0.5F;
    row[599] = 0.2F;
    check_draws(row, {}, 10'000, 11);
}

TEST_CASE("row_sampler: draws follow the cut softmax at every top_p") {
    const row_of row = tq::test::random_row<float>(12, 3, -3, 1);
    for (const double top_p : {0.3, 0.8, 0.99})
        check_draws(row, {.temperature = 1.2, .top_p = top_p}, 20'000, 12);
    const row_of wide = tq::test::random_row<float>(300, 4, -1, 0);  // the nucleus outgrows 64
    check_draws(wide, {.temperature = 1, .top_p = 0.5}, 4'000, 13);
}

TEST_CASE("row_sampler: u is the distribution function, in the order of the tokens") {
    const row_of row{std::log(0.25F), -inf, std::log(0.5F), std::log(0.25F)};
    row_sampler sampler{{}};
    CHECK(sampler(row, 0.24) == 0);
    CHECK(sampler(row, 0.26) == 2);
    CHECK(sampler(row, 0.74) == 2);
    CHECK(sampler(row, 0.76) == 3);
}

TEST_CASE("row_sampler: a token of probability 0 is never drawn, at either extreme of u") {
    for (const std::size_t size : {5U, 256U, 700U})
        for (const double top_p : {1.0, 0.9}) {
            row_of row(size, -inf);
            row[size / 2] = 1;
            row[size / 2 + 1] = 0;
            row_sampler sampler{{.temperature = 1, .top_p = top_p}};
            CHECK(sampler(row, smallest_u) == static_cast<tq::token_id>(size / 2));
            CHECK(sampler(row, largest_u) == static_cast<tq::token_id>(size / 2 + 1));
            CHECK(support_of(row, {.temperature = 1, .top_p = top_p}) ==
                  std::vector<std::size_t>{size / 2, size / 2 + 1});
        }
}

TEST_CASE("row_sampler: the extremes of u stay inside rows that are possible everywhere") {
    for (const std::size_t size : {1U, 16U, 256U, 257U, 1000U}) {
        const row_of row = tq::test::random_row<float>(size, size, -2, 0);
        row_sampler sampler{{}};
        CHECK(sampler(row, smallest_u) == 0);
        CHECK(sampler(row, largest_u) == static_cast<tq::token_id>(size - 1));
    }
}

TEST_CASE("row_sampler: the nucleus is the smallest set of the wanted mass") {
    const row_of row{std::log(0.1F), std::log(0.4F), std::log(0.3F), std::log(0.2F)};
    using set = std::vector<std::size_t>;
    CHECK(support_of(row, {.temperature = 1, .top_p = 0.39}) == set{1});
    CHECK(support_of(row, {.temperature = 1, .top_p = 0.41}) == set{1, 2});
    CHECK(support_of(row, {.temperature = 1, .top_p = 0.69}) == set{1, 2});
    CHECK(support_of(row, {.temperature = 1, .top_p = 0.71}) == set{1, 2, 3});
    CHECK(support_of(row, {.temperature = 1, .top_p = 0.91}) == set{0, 1, 2, 3});
    CHECK(support_of(row, {.temperature = 1, .top_p = 1e-9}) == set{1});
}

TEST_CASE("row_sampler: among equals the lower token is in the nucleus first") {
    using set = std::vector<std::size_t>;
    CHECK(support_of({0, 0, 0, 0}, {.temperature = 1, .top_p = 0.3}) == set{0, 1});
    CHECK(support_of({0, 1, 0, 1}, {.temperature = 1, .top_p = 0.4}) == set{1, 3});
    CHECK(support_of(row_of(5, 2.0F), {.temperature = 1, .top_p = 0.55}) == set{0, 1, 2});
}

TEST_CASE("row_sampler: equal entries whose mass is exactly top_p are all that is kept") {
    for (std::size_t size = 2; size <= 40; ++size)
        for (std::size_t kept = 1; kept < size; ++kept) {
            const double top_p = static_cast<double>(kept) / static_cast<double>(size);
            if (top_p * static_cast<double>(size) != static_cast<double>(kept)) continue;
            row_sampler sampler{{.temperature = 1, .top_p = top_p}};
            const tq::token_id last = sampler(row_of(size, 1.0F), largest_u);
            if (last != static_cast<tq::token_id>(kept - 1))
                FAIL_CHECK(size << " equal entries, top_p " << kept << "/" << size << ": token "
                                << last);
        }
    SUCCEED();
}

TEST_CASE("row_sampler: temperature 0 is argmax, whatever u and top_p") {
    row_sampler sampler{{.temperature = 0, .top_p = 0.5}};
    for (const double u : {smallest_u, 0.5, largest_u}) CHECK(sampler(row_of{1, 3, 3, 2}, u) == 1);
}

TEST_CASE("row_sampler: NaN anywhere, an empty row or nothing possible is no token") {
    for (const sampling_rule rule :
         {sampling_rule{}, {.temperature = 0, .top_p = 1}, {.temperature = 1, .top_p = 0.5}}) {
        row_sampler sampler{rule};
        for (const std::size_t size : {1U, 19U, 300U})
            for (const std::size_t where : {std::size_t{0}, size / 2, size - 1}) {
                row_of row(size, 1.0F);
                row[where] = not_a_number;
                CHECK(sampler(row, 0.5) == tq::no_token);
            }
        CHECK(sampler({}, 0.5) == tq::no_token);
        CHECK(sampler(row_of(9, -inf), 0.5) == tq::no_token);
    }
}

TEST_CASE("row_sampler: +inf takes all, the lowest one first") {
    for (const double top_p : {1.0, 0.5}) {
        row_sampler sampler{{.temperature = 1, .top_p = top_p}};
        for (const double u : {smallest_u, 0.5, largest_u})
            CHECK(sampler(row_of{1, inf, 5, inf}, u) == 1);
    }
}

TEST_CASE("row_sampler: a vocabulary of one token") {
    for (const double top_p : {1.0, 0.5})
        for (const double u : {smallest_u, 0.5, largest_u})
            CHECK(row_sampler{{.temperature = 1, .top_p = top_p}}(row_of{-3}, u) == 0);
}

TEST_CASE("row_sampler: rows of different sizes through one sampler do not disturb each other") {
    row_sampler used{{.temperature = 1, .top_p = 0.9}};
    for (const std::size_t size : {700U, 3U, 300U, 1U, 900U}) {
        const row_of row = tq::test::random_row<float>(size, size, -2, 0);
        row_sampler fresh{{.temperature = 1, .top_p = 0.9}};
        for (const double u : {0.1, 0.5, 0.9}) CHECK(used(row, u) == fresh(row, u));
    }
}

TEST_CASE("row_sampler: draws follow the cut softmax at every min_p") {
    const row_of row = tq::test::random_row<float>(300, 5, -4, 1);
    for (const double min_p : {0.02, 0.3, 1.0})
        for (const double top_p : {1.0, 0.4}) {
            const sampling_rule rule{.temperature = 1.3, .top_p = top_p};
            std::vector<double> p = exact_probabilities(row, rule);
            const double bar = min_p * *std::ranges::max_element(p);
            double total = 0;
            for (double& x : p) total += x = x < bar * (1 - 1e-9) ? 0 : x;
            for (double& x : p) x /= total;
            row_sampler sampler{rule, min_p};
            std::vector<std::size_t> counts(row.size());
            for (std::uint64_t i = 0; i < 20'000; ++i)
                ++counts[static_cast<std::size_t>(sampler(row, tq::random_key{14}.uniform(i)))];
            INFO("min_p " << min_p << ", top_p " << top_p);
            const auto result = tq::test::chi_square(counts, p);
            CHECK((result.degrees == 0 || result.plausible()));
        }
}

TEST_CASE("row_sampler: a nucleus of thousands of tokens is the one of a sort") {
    const row_of row = tq::test::random_row<float>(20'000, 6, -3, 0);
    for (const double top_p : {0.1, 0.9, 0.999}) {
        const sampling_rule rule{.temperature = 1.5, .top_p = top_p};
        const std::vector<double> p = exact_probabilities(row, rule);
        row_sampler sampler{rule};
        double below = 0;  // u is the distribution function, in the order of the tokens
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (p[i] > 0 && i % 61 == 0)
                if (const auto drawn = sampler(row, below + p[i] / 2);
                    drawn != static_cast<tq::token_id>(i))
                    FAIL_CHECK("top_p " << top_p << ": " << drawn << " instead of " << i);
            below += p[i];
        }
    }
}

TEST_CASE("row_sampler: on long rows u is the distribution function") {
    row_of row = tq::test::random_row<float>(50'000, 7, -9, 0);
    row[40'000] = 60;  // the chunks before it shrink
    row[45'000] = 61;
    for (std::size_t i = 41'000; i < 44'000; ++i) row[i] = -inf;
    for (const double temperature : {1.0, 30.0}) {
        const std::vector<double> p =
            exact_probabilities(row, {.temperature = temperature, .top_p = 1});
        row_sampler sampler{{.temperature = temperature, .top_p = 1}};
        double below = 0;
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (p[i] > 1e-5 && (i % 11 == 0 || p[i] > 0.01)) {
                const auto drawn = sampler(row, below + p[i] / 2);
                if (drawn != static_cast<tq::token_id>(i)) FAIL_CHECK(drawn << " instead of " << i);
            }
            below += p[i];
        }
        CHECK(sampler(row, largest_u) == (temperature == 1.0 ? 45'000 : 49'999));
    }
}

TEST_CASE("row_sampler: temperatures and logits beyond the range of float") {
    const row_of row{1, 2, 2, 0};
    for (const double top_p : {1.0, 0.6}) {
        row_sampler cold{{.temperature = 1e-9, .top_p = top_p}};
        CHECK(cold(row, 0.1) == 1);
        CHECK(cold(row, 0.9) == 2);
    }
    row_sampler hot{{.temperature = 1e9, .top_p = 1}};
    CHECK(hot(row, 0.9) == 3);
    CHECK(row_sampler{{}}(row_of{-3e38F, 3e38F, -inf}, 0.5) == 1);
    CHECK(row_sampler{{}}(row_of{-3e38F, -2e38F}, 0.5) == 1);
    CHECK(row_sampler{{}}(row_of{3e38F, not_a_number}, 0.5) == tq::no_token);
    // Where rounding a logit moves it by more than float's exponents hold, on rows of many blocks.
    for (const float huge : {1e8F, 1.6852253632838282e22F, 1e30F}) {
        row_of longer(3000, 0);
        longer[700] = longer[2900] = huge;
        row_sampler sampler{{.temperature = 3.125}};
        CHECK(sampler(longer, 0.3) == 700);
        CHECK(sampler(longer, 0.7) == 2900);
        CHECK(sampler(longer, 1 - 0x1p-53) == 2900);
    }
}
