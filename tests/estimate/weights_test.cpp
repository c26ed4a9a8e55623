#include <tq/estimate/weights.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"

using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

double balance(std::vector<double> log_p, std::vector<double> shares) {
    return tq::balance_log_probability(log_p, shares);
}

}  // namespace

TEST_CASE("explicit weights: r / beta - r_BL / beta_BL, and what is forbidden has weight 0") {
    CHECK(close(tq::explicit_log_weight(0.7, 0.2, 0.5, 0.5), 1.0, 1e-15));
    CHECK(close(tq::explicit_log_weight(0.7, 0.2, 0.5, 0.1), 1.4 - 2.0, 1e-15));
    CHECK(tq::explicit_log_weight(-inf, 0.2, 0.5, 0.5) == -inf);
    CHECK(tq::explicit_log_weight(-inf, -inf, 0.5, 0.5) == -inf);
    CHECK(tq::explicit_log_weight(0.3, -inf, 0.5, 0.5) == inf);
}

TEST_CASE("implicit weights: log pi - log rho + r / beta, and what is forbidden has weight 0") {
    CHECK(close(tq::implicit_log_weight(-3, -2, 0.5, 0.25), 1.0, 1e-15));
    CHECK(tq::implicit_log_weight(0, 0, 0.5, 0.25) == 2.0);
    CHECK(tq::implicit_log_weight(-inf, -2, 0.5, 0.25) == -inf);
    CHECK(tq::implicit_log_weight(-inf, -inf, 0.5, 0.25) == -inf);
    CHECK(tq::implicit_log_weight(-3, -2, -inf, 0.25) == -inf);
    CHECK(tq::implicit_log_weight(-3, -inf, 0.5, 0.25) == inf);
    CHECK(close(tq::implicit_log_weight(-1e5, -1e5 - 1, 0, 1), 1, 1e-9));  // no overflow
}

TEST_CASE("reference weights: half the difference of the rewards") {
    CHECK(tq::reference_log_weight(3, 1) == 1);
    CHECK(tq::reference_log_weight(-3, 1) == -2);
}

TEST_CASE("balance heuristic: the log-probability of the mixture") {
    CHECK(close(balance({std::log(0.1), std::log(0.4)}, {0.75, 0.25}), std::log(0.175), 1e-15));
    CHECK(balance({-2.5}, {1}) == -2.5);  // one baseline
    CHECK(balance({-2.5, 7}, {1, 0}) == -2.5);
    CHECK(close(balance({-2000, -2001}, {0.5, 0.5}), -2000 + std::log(0.5 + 0.5 / std::exp(1)),
                1e-12));
    CHECK(balance({-inf, -inf}, {0.5, 0.5}) == -inf);
    CHECK(close(balance({-inf, -1}, {0.5, 0.5}), -1 + std::log(0.5), 1e-15));
    CHECK(balance({}, {}) == -inf);
}

TEST_CASE("balance heuristic: a share a of the policy itself bounds its ratio by 1 / a") {
    for (const double log_policy : {-1.0, -30.0, -800.0})
        for (const double log_base : {-0.5, -60.0, -900.0, -inf}) {
            const double log_mixture = balance({log_base, log_policy}, {0.9, 0.1});
            CHECK(tq::implicit_log_weight(log_policy, log_mixture, 0, 1) <= std::log(10) + 1e-12);
        }
}
