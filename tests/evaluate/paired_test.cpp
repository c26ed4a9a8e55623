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
