#include <tq/estimate/mean.hpp>

#include <cmath>
#include <tq/core/random.hpp>
#include <vector>

#include "support/catch.hpp"

using tq::mean_estimate;

TEST_CASE("mean_estimate: mean and standard error of values worked out by hand") {
    // Mean 3; squared deviations 4 + 1 + 0 + 1 + 4 = 10; variance 10/4; error sqrt(2.5 / 5).
    const tq::value_estimate estimate = mean_estimate(std::vector<double>{1, 2, 3, 4, 5});
    CHECK(std::abs(estimate.q - 3) < 1e-15);
    CHECK(std::abs(estimate.standard_error - std::sqrt(0.5)) < 1e-15);
    CHECK(estimate.rollouts == 5);
}

TEST_CASE("mean_estimate: nothing tells nothing") {
    const tq::value_estimate estimate = mean_estimate({});
    CHECK(std::isnan(estimate.q));
    CHECK(std::isnan(estimate.standard_error));
    CHECK(estimate.rollouts == 0);
}

TEST_CASE("mean_estimate: one draw is its own mean and tells no spread") {
    const tq::value_estimate estimate = mean_estimate(std::vector<double>{0.25});
    CHECK(estimate.q == 0.25);
    CHECK(std::isnan(estimate.standard_error));
    CHECK(estimate.rollouts == 1);
}

TEST_CASE("mean_estimate: two draws have half their distance as error") {
    const tq::value_estimate estimate = mean_estimate(std::vector<double>{0.2, 0.6});
    CHECK(std::abs(estimate.q - 0.4) < 1e-15);
    CHECK(std::abs(estimate.standard_error - 0.2) < 1e-15);
}

TEST_CASE("mean_estimate: equal draws have exactly no error") {
    const tq::value_estimate estimate = mean_estimate(std::vector<double>(7, 0.1));
    CHECK(estimate.q == 0.1);
    CHECK(estimate.standard_error == 0);
}

TEST_CASE("mean_estimate: a large offset does not drown the spread") {
    std::vector<double> plain, shifted;
    for (std::size_t i = 0; i < 1000; ++i) {
        plain.push_back(std::ldexp(std::floor(1024 * tq::random_key{1}.uniform(i)), -10));
        shifted.push_back(1e9 + plain.back());  // exact: multiples of 2^-10
    }
    const tq::value_estimate a = mean_estimate(plain), b = mean_estimate(shifted);
    CHECK(std::abs(b.q - 1e9 - a.q) < 1e-6);
    CHECK(std::abs(b.standard_error / a.standard_error - 1) < 1e-6);
}
