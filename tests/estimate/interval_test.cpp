#include <tq/estimate/interval.hpp>

#include <cmath>
#include <tq/core/random.hpp>
#include <vector>

#include "support/catch.hpp"

namespace {

struct family {
    const char* name;
    double mean;
    double (*draw)(double u);
};

const family families[] = {
    {"uniform", 0.5, [](double u) { return u; }},
    {"coin", 0.9, [](double u) { return u < 0.9 ? 1.0 : 0.0; }},
    {"rare", 0.02, [](double u) { return u < 0.02 ? 1.0 : 0.0; }},
    {"narrow", 0.85, [](double u) { return 0.8 + 0.1 * u; }},
};

std::vector<double> draws(const family& f, std::uint64_t seed, std::size_t n) {
    std::vector<double> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = f.draw(tq::random_key{3}.fold_in(seed).uniform(i));
    return x;
}

}  // namespace

TEST_CASE(
    "betting_interval: looking after every draw, the mean is ever missed at the stated rate") {
    constexpr std::size_t trials = 400, n = 40;
    constexpr double error = 0.1;
    for (const family& f : families) {
        std::size_t misses = 0;
        for (std::uint64_t seed = 0; seed < trials; ++seed) {
            const std::vector<double> x = draws(f, seed, n);
            bool missed = false;
            for (std::size_t size = 1; size <= n && !missed; ++size) {
                const auto q = tq::betting_interval(std::span{x}.first(size), {0, 1}, error);
                missed = f.mean < q.lo || f.mean > q.hi;
            }
            misses += missed;
        }
        INFO(f.name << ": " << misses << " of " << trials);
        CHECK(static_cast<double>(misses) <= trials * error + 3 * std::sqrt(trials * error));
    }
}

TEST_CASE("betting_interval: narrow rewards are told apart with few draws") {
    const std::vector<double> x = draws(families[3], 1, 64);
    const auto q = tq::betting_interval(x, {0, 1}, 0.05);
    const double hoeffding = 2 * std::sqrt(std::log(2 / 0.05) / (2 * 64.0));
    CHECK(q.hi - q.lo < 0.5 * hoeffding);
    const auto fewer = tq::betting_interval(std::span{x}.first(8), {0, 1}, 0.05);
    CHECK(fewer.hi - fewer.lo > q.hi - q.lo);
    const auto surer = tq::betting_interval(x, {0, 1}, 0.001);
    CHECK(surer.hi - surer.lo > q.hi - q.lo);
}

TEST_CASE("betting_interval: scales and shifts with the rewards") {
    std::vector<double> x = draws(families[0], 2, 30);
    const auto unit = tq::betting_interval(x, {0, 1}, 0.05);
    for (double& value : x) value = -3 + 10 * value;
    const auto wide = tq::betting_interval(x, {-3, 7}, 0.05);
    CHECK(std::abs(wide.lo - (-3 + 10 * unit.lo)) < 1e-6);
    CHECK(std::abs(wide.hi - (-3 + 10 * unit.hi)) < 1e-6);
}

TEST_CASE("betting_interval: edges") {
    const std::vector<double> ones(20, 1.0), none;
    CHECK(tq::betting_interval(none, {0, 1}, 0.05).lo == 0);
    CHECK(tq::betting_interval(none, {0, 1}, 0.05).hi == 1);
    const auto all_ones = tq::betting_interval(ones, {0, 1}, 0.05);
    CHECK(all_ones.hi == 1);
    CHECK(all_ones.lo > 0.6);
    CHECK(std::isinf(tq::betting_interval(ones, {}, 0.05).hi));
    CHECK(tq::betting_interval(ones, {1, 1}, 0.05).lo == 1);
    CHECK(tq::betting_interval(std::vector<double>(5, 1 + 1e-7), {0, 1}, 0.05).hi == 1);
}

TEST_CASE("normal_quantile: known values and edges") {
    CHECK(std::abs(tq::normal_quantile(0.975) - 1.959963984540054) < 1e-12);
    CHECK(std::abs(tq::normal_quantile(0.025) + 1.959963984540054) < 1e-12);
    CHECK(std::abs(tq::normal_quantile(1e-9) + 5.997807015007687) < 1e-11);
    CHECK(std::abs(tq::normal_quantile(0.5)) < 1e-12);
    CHECK(tq::normal_quantile(0) == -HUGE_VAL);
    CHECK(tq::normal_quantile(1) == HUGE_VAL);
    CHECK(std::isnan(tq::normal_quantile(std::nan(""))));
}

TEST_CASE(
    "normal_interval: q +- 1.96 errors, a point for an exact value, the line for an unknown") {
    const auto q = tq::normal_interval({.q = 2, .standard_error = 0.5, .rollouts = 9});
    CHECK(std::abs(q.lo - (2 - 0.97998199227)) < 1e-9);
    CHECK(std::abs(q.hi - (2 + 0.97998199227)) < 1e-9);
    CHECK(tq::normal_interval({.q = 2, .standard_error = 0.5, .rollouts = 9}, 0.5).hi < q.hi);
    const auto exact = tq::normal_interval({.q = 2, .standard_error = 0, .rollouts = 9});
    CHECK(exact.lo == 2);
    CHECK(exact.hi == 2);
    for (const double unknown : {std::nan(""), HUGE_VAL})
        CHECK(std::isinf(tq::normal_interval({.q = 2, .standard_error = unknown}).lo));
    CHECK(std::isinf(tq::normal_interval({.q = -HUGE_VAL, .standard_error = 1}).hi));
}
