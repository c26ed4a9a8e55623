#include <tq/kernels/moments.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"
#include "support/statistics.hpp"

using list = std::vector<double>;
using tq::test::bound_of;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();

list shares_of(const list& log_weights, double power) {
    list shares(log_weights.size(), not_a_number);
    tq::shares_of(log_weights, power, shares);
    return shares;
}

/// Of numbers with weights, in long double.
struct exact_moments {
    long double mean = 0, squares = 0;

    exact_moments(const list& x, const list& weights) {
        for (std::size_t i = 0; i < x.size(); ++i)
            mean += static_cast<long double>(weights[i]) * static_cast<long double>(x[i]);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const long double part =
                static_cast<long double>(weights[i]) * (static_cast<long double>(x[i]) - mean);
            squares += part * part;
        }
    }
};

bool within(double found, long double exact, double relative) {
    return std::abs(static_cast<long double>(found) - exact) <=
           static_cast<long double>(relative) * std::abs(exact);
}

}  // namespace

TEST_CASE("moments_of: within their bound of long double, at every length") {
    for (const std::size_t n : {1U, 2U, 7U, 8U, 9U, 64U, 1001U}) {
        const list x = tq::test::random_row<double>(n, n, 1, 3);
        const auto size = static_cast<long double>(n);
        const exact_moments plain{x, list(n, 1)};
        const long double mean = plain.mean / size;
        long double squares = 0;
        for (const double value : x) {
            const long double d = static_cast<long double>(value) - mean;
            squares += d * d;
        }
        const tq::moments found = tq::moments_of(x);
        INFO("n " << n);
        CHECK(within(found.mean, mean, bound_of("moments_of", "mean")));
        CHECK(within(found.squares, squares, bound_of("moments_of", "squares")));
        CHECK(found.positive == n);

        const list weights = shares_of(tq::test::random_row<double>(n, n + 1, -2, 2), 1);
        const exact_moments exact{x, weights};
        const tq::moments weighted = tq::moments_of(x, weights);
        CHECK(within(weighted.mean, exact.mean, bound_of("moments_of", "mean")));
        if (n > 1)
            CHECK(within(weighted.squares, exact.squares, bound_of("moments_of", "squares")));
    }
}

TEST_CASE("moments_of: equal numbers are their own mean; whole ones have one mean in every order") {
    for (const std::size_t n : {1U, 3U, 10U, 17U})
        for (const double value : {0.1, -7.3, 1e300}) {
            const tq::moments found = tq::moments_of(list(n, value));
            CHECK(found.mean == value);
            CHECK(found.squares == 0);
        }
    const list x{0.1, 0.7, -0.3}, opposite{-0.1, -0.7, 0.3}, positive{0.1, 0.7},
        negative{-0.1, -0.7};
    CHECK(tq::moments_of(x).mean == -tq::moments_of(opposite).mean);
    CHECK(tq::moments_of(positive).mean == -tq::moments_of(negative).mean);
    CHECK(tq::moments_of(positive).squares == tq::moments_of(negative).squares);
    list votes{0, 0, 0, 0, 1, 1, 1};
    do CHECK(tq::moments_of(votes).mean == 3.0 / 7);
    while (std::next_permutation(votes.begin(), votes.end()));
}

TEST_CASE("moments_of: nothing, infinities and NaN") {
    CHECK(std::isnan(tq::moments_of(list{}).mean));
    CHECK(tq::moments_of(list{1, inf, 2}).mean == inf);
    CHECK(tq::moments_of(list{-inf, 1}).mean == -inf);
    CHECK(std::isnan(tq::moments_of(list{-inf, inf}).mean));
    for (std::size_t where = 0; where < 11; ++where) {
        list x(11, 1.0);
        x[where] = not_a_number;
        CHECK(std::isnan(tq::moments_of(x).mean));
    }
}

TEST_CASE("moments_of: what has no weight is not read") {
    for (const double unread : {inf, -inf, not_a_number}) {
        list x(12, unread), weights(12, 0.0);
        x[1] = 3;
        x[10] = 5;
        weights[1] = weights[10] = 0.5;
        const tq::moments found = tq::moments_of(x, weights);
        CHECK(found.mean == 4);
        CHECK(found.squares == 0.5);
        CHECK(found.positive == 2);
    }
    CHECK(tq::moments_of(list{1, 2}, list{0, 0}).mean == 0);
    CHECK(tq::moments_of(list{}, list{}).positive == 0);
}

TEST_CASE("shares_of: the definition in long double, at every length and power") {
    for (const std::size_t n : {1U, 5U, 8U, 9U, 300U})
        for (const double power : {0.0, 0.3, 1.0})
            for (const double level : {0.0, 800.0, -800.0}) {
                list logs = tq::test::random_row<double>(n, n, -5, 5);
                for (double& x : logs) x += level;
                long double sum = 0;
                std::vector<long double> exact;
                const double top = *std::ranges::max_element(logs);
                for (const double x : logs) {
                    exact.push_back(
                        std::exp(static_cast<long double>(power) *
                                 (static_cast<long double>(x) - static_cast<long double>(top))));
                    sum += exact.back();
                }
                const list shares = shares_of(logs, power);
                INFO("n " << n << ", power " << power << ", level " << level);
                for (std::size_t i = 0; i < n; ++i)
                    if (!within(shares[i], exact[i] / sum, bound_of("shares_of", "share")))
                        FAIL("entry " << i);
            }
    SUCCEED();
}

TEST_CASE("shares_of: equal weights have equal shares to the bit, wherever they stand") {
    list logs = tq::test::random_row<double>(29, 3, -1, 1);
    for (const std::size_t i : {0U, 6U, 13U, 24U, 28U}) logs[i] = 0.123;
    const list shares = shares_of(logs, 0.7);
    for (const std::size_t i : {6U, 13U, 24U, 28U}) CHECK(shares[i] == shares[0]);
}

TEST_CASE("shares_of: weights of zero and infinity, and none at all") {
    CHECK(shares_of({-inf, 0, -inf, 0}, 1) == list{0, 0.5, 0, 0.5});
    CHECK(shares_of({-inf, 0, 3, -inf}, 0) == list{0, 0.5, 0.5, 0});
    CHECK(shares_of({-inf, -inf}, 1) == list{0.5, 0.5});
    CHECK(shares_of({inf, 0, inf, -inf}, 1) == list{0.5, 0, 0.5, 0});
    CHECK(shares_of({inf, 5}, 0) == list{0.5, 0.5});
    CHECK(shares_of({0, -1e4}, 1) == list{1, 0});
    CHECK(shares_of({}, 1).empty());
}

TEST_CASE("effective_size: n for equal shares, 1 for a single one, 0 for none") {
    CHECK(tq::effective_size(list(16, 1.0 / 16)) == 16);
    CHECK(tq::effective_size(list{0, 1, 0}) == 1);
    CHECK(tq::effective_size(list{0, 0}) == 0);
    CHECK(tq::effective_size(list{}) == 0);
}
