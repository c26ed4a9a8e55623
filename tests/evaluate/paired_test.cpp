#include <tq/evaluate/paired.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"

using tq::compare_paired;
using list = std::vector<double>;

TEST_CASE("compare_paired: mean, error and z of differences worked out by hand") {
    // Differences 1, 2, 3: mean 2, standard deviation 1, error 1 / sqrt(3).
    const auto result = compare_paired(list{11, 22, 33}, list{10, 20, 30});
    CHECK(std::abs(result.mean - 2) < 1e-15);
    CHECK(std::abs(result.standard_error - 1 / std::sqrt(3.0)) < 1e-15);
    CHECK(std::abs(result.z() - 2 * std::sqrt(3.0)) < 1e-12);
}

TEST_CASE("compare_paired: what the prompts have in common is taken out") {
    const auto result = compare_paired(list{1.5, 101.5, -48.5}, list{1, 101, -49});
    CHECK(result.mean == 0.5);
    CHECK(result.standard_error == 0);
    CHECK(result.z() == std::numeric_limits<double>::infinity());
}

TEST_CASE("compare_paired: swapping the methods changes the sign alone") {
    const list a{0.1, 0.9, 0.4, 0.3}, b{0.2, 0.5, 0.5, 0.1};
    CHECK(compare_paired(a, b).mean == -compare_paired(b, a).mean);
    CHECK(compare_paired(a, b).standard_error == compare_paired(b, a).standard_error);
}

TEST_CASE("compare_paired: one prompt, or no difference at all, tells no z") {
    CHECK(std::isnan(compare_paired(list{1}, list{2}).z()));
    CHECK(compare_paired(list{1}, list{2}).mean == -1);
    CHECK(std::isnan(compare_paired(list{1, 2}, list{1, 2}).z()));
}

TEST_CASE("compare_paired: lists of different sizes and empty lists are refused") {
    const std::string text = tq::test::message_of<tq::invalid_option>([] {
        (void)compare_paired(list{1, 2}, list{1});
    });
    CHECK(text == "compare_paired: b.size() = 1, must be a.size() = 2, and not 0");
    CHECK_THROWS_AS(compare_paired(list{}, list{}), tq::invalid_option);
}

TEST_CASE("compare_wins: wins, ties within the margin, losses") {
    const std::vector<double> a{0.5, 0.6, 0.7, 0.8}, b{0.4, 0.6, 0.75, 0.9};
    const tq::win_rates exact = tq::compare_wins(a, b);
    CHECK(exact.win == 0.25);
    CHECK(exact.tie == 0.25);
    CHECK(exact.loss == 0.5);
    const tq::win_rates wide = tq::compare_wins(a, b, 0.06);
    CHECK(wide.win == 0.25);
    CHECK(wide.tie == 0.5);
    CHECK(wide.win_tie() == 0.75);
    CHECK_THROWS_AS(tq::compare_wins(a, {}), tq::invalid_option);
    CHECK_THROWS_AS(tq::compare_wins(a, b, -1), tq::invalid_option);
}

TEST_CASE("bootstrap_paired: agrees with the normal interval, and holds the truth at its rate") {
    const tq::random_key key{7};
    std::size_t held = 0;
    constexpr std::size_t trials = 400, n = 40;
    for (std::uint64_t t = 0; t < trials; ++t) {
        std::vector<double> a, b;
        for (std::uint64_t i = 0; i < n; ++i) {  // the true difference is 0.25
            const double shared = key.fold_in(t).uniform(3 * i);
            a.push_back(shared + key.fold_in(t).uniform(3 * i + 1));
            b.push_back(shared + 0.5 * key.fold_in(t).uniform(3 * i + 2));
        }
        const tq::mean_interval interval = tq::bootstrap_paired(a, b, key.fold_in(t), 0.95, 400);
        held += interval.lo <= 0.25 && 0.25 <= interval.hi;
        if (t > 0) continue;
        const tq::paired_difference normal = tq::compare_paired(a, b);
        const tq::mean_interval fine = tq::bootstrap_paired(a, b, key);
        CHECK(std::abs(fine.lo - (normal.mean - 1.96 * normal.standard_error)) <
              0.2 * normal.standard_error);
        CHECK(std::abs(fine.hi - (normal.mean + 1.96 * normal.standard_error)) <
              0.2 * normal.standard_error);
    }
    // 95 %, less what 40 prompts cost (the percentile bootstrap is a little narrow).
    CHECK(held > trials * 90 / 100);
    CHECK(held < trials * 985 / 1000);
}

TEST_CASE("bootstrap_paired: edges and refusals") {
    const std::vector<double> a{0.5}, b{0.2};
    const tq::mean_interval one = tq::bootstrap_paired(a, b, tq::random_key{1});
    CHECK(one.lo == 0.3);
    CHECK(one.hi == 0.3);
    CHECK_THROWS_AS(tq::bootstrap_paired(a, b, tq::random_key{1}, 1), tq::invalid_option);
    CHECK_THROWS_AS(tq::bootstrap_paired(a, b, tq::random_key{1}, 0.9, 5), tq::invalid_option);
}
