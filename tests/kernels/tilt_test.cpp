#include <tq/kernels/tilt.hpp>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"
#include "support/statistics.hpp"

using list = std::vector<double>;
using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity(),
                 not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double bound = tq::test::bound_of("tilt", "log_p");

struct result {
    list log_p;
    double log_z;
};

result tilt(const list& log_pi, const list& q, double alpha) {
    result out{list(q.size(), not_a_number), not_a_number};
    out.log_z = tq::tilt(log_pi, q, alpha, out.log_p);
    return out;
}

/// Log-probabilities of `size` entries.
list random_log_pi(std::size_t size, std::uint64_t seed, double spread = 10) {
    list row = tq::test::random_row<double>(size, seed, -spread, 0);
    const double total = tq::log_sum_exp(std::span<const double>{row});
    for (double& x : row) x -= total;
    return row;
}

/// The definition, in long double.
list slow_tilt(const list& log_pi, const list& q, double alpha) {
    std::vector<long double> weights;
    for (std::size_t i = 0; i < q.size(); ++i)
        weights.push_back(static_cast<long double>(log_pi[i]) +
                          static_cast<long double>(q[i]) / static_cast<long double>(alpha));
    const long double total = tq::test::slow_log_sum_exp(std::span<const long double>{weights});
    list log_p;
    for (const long double weight : weights) log_p.push_back(static_cast<double>(weight - total));
    return log_p;
}

double largest_difference(const list& a, const list& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i]) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
}

double mass(const list& log_p) {
    double sum = 0;
    for (const double x : log_p) sum += std::exp(x);
    return sum;
}

}  // namespace

TEST_CASE("tilt: within its bound of long double for |q / alpha| up to 1000") {
    for (const std::size_t size : {1U, 2U, 8U, 17U, 300U})
        for (const double alpha : {1e-3, 0.1, 1.0, 1e3, 1e9})
            for (const double largest : {0.01, 1.0, 1e3}) {
                const double range = std::min(largest, 1e3 * alpha);
                const list log_pi = random_log_pi(size, size, 30);
                const list q = tq::test::random_row<double>(size, size + 1, -range, range);
                INFO("size " << size << ", alpha " << alpha << ", |q| up to " << range);
                CHECK(largest_difference(tilt(log_pi, q, alpha).log_p,
                                         slow_tilt(log_pi, q, alpha)) <= bound);
            }
}

TEST_CASE("tilt: the probabilities sum to one at every alpha") {
    for (const double alpha : {1e-6, 1e-3, 0.1, 1.0, 1e3, 1e9, inf})
        for (std::uint64_t seed = 0; seed < 20; ++seed) {
            const list log_pi = random_log_pi(8, seed);
            CHECK(
                close(mass(tilt(log_pi, tq::test::random_row<double>(8, seed, 0, 1), alpha).log_p),
                      1, 1e-12));
        }
}

TEST_CASE("tilt: a constant added to every q, or a common factor, changes nothing") {
    const list log_pi = random_log_pi(10, 1), q = tq::test::random_row<double>(10, 2, 0, 1);
    const list plain = tilt(log_pi, q, 0.3).log_p;
    for (const double shift : {-8.0, 0.5, 64.0}) {
        list moved = q;
        for (double& x : moved) x += shift;
        CHECK(largest_difference(tilt(log_pi, moved, 0.3).log_p, plain) <= 1e-12);
    }
    for (const double factor : {1e-3, 7.0, 1e6}) {
        list scaled = q;
        for (double& x : scaled) x *= factor;
        CHECK(largest_difference(tilt(log_pi, scaled, 0.3 * factor).log_p, plain) <= 1e-12);
    }
}

TEST_CASE("tilt: log Z is the log of the mean of exp(q / alpha)") {
    const list log_pi{std::log(0.25), std::log(0.75)};
    const result out = tilt(log_pi, {1, 0.5}, 0.5);
    CHECK(close(out.log_z, std::log(0.25 * std::exp(2.0) + 0.75 * std::exp(1.0)), 1e-12));
}

TEST_CASE("tilt: alpha infinite renormalises the prior; the largest alphas do nearly so") {
    list log_pi = random_log_pi(6, 3);
    for (double& x : log_pi) x -= 0.7;  // half of the mass: candidates only
    list renormalised = log_pi;
    const double total = tq::log_sum_exp(std::span<const double>{log_pi});
    for (double& x : renormalised) x -= total;
    const list q = tq::test::random_row<double>(6, 4, 0, 1);
    const result out = tilt(log_pi, q, inf);
    CHECK(largest_difference(out.log_p, renormalised) <= 1e-12);
    CHECK(close(out.log_z, total, 1e-12));
    CHECK(largest_difference(tilt(log_pi, q, 1e9).log_p, renormalised) <= 2e-9);
    CHECK(tilt(log_pi, {1, 2, -inf, 4, 5, 6}, inf).log_p[2] == -inf);
}

TEST_CASE("tilt: the smallest alphas take the best q") {
    const result out = tilt(random_log_pi(4, 5), {0.1, 0.3, 0.2, 0.0}, 1e-6);
    CHECK(close(out.log_p[1], 0, 1e-12));
    CHECK(out.log_p[2] < -1e4);
}

TEST_CASE("tilt: enormous and infinite q act alike in every order, and never give NaN") {
    std::vector<std::size_t> order{0, 1, 2};
    do {
        const auto arranged = [&](const list& in) {
            return list{in[order[0]], in[order[1]], in[order[2]]};
        };
        const auto log_p_of = [&](const list& q, double alpha) {
            const list log_pi{std::log(0.5), std::log(0.3), std::log(0.2)};
            const list out = tilt(arranged(log_pi), arranged(q), alpha).log_p;
            list back(3);
            for (std::size_t i = 0; i < 3; ++i) back[order[i]] = out[i];
            return back;
        };
        const list enormous = log_p_of({1e30, -1e30, 1e30}, 1e-6);
        CHECK(enormous[1] < -1e30);
        CHECK(close(enormous[0], std::log(5.0 / 7), 1e-12));
        const list forbidden = log_p_of({0, -inf, 0}, 1);
        CHECK(forbidden[1] == -inf);
        CHECK(close(forbidden[0], std::log(5.0 / 7), 1e-12));
        const list takes_all = log_p_of({5, inf, inf}, 1);
        CHECK(takes_all[0] == -inf);
        CHECK(close(takes_all[1], std::log(0.6), 1e-12));
        const list everything = log_p_of({-inf, -1e30, inf}, 1e-6);
        CHECK(everything == list{-inf, -inf, 0});
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("tilt: beside the priors that engines mask with, the probabilities still sum to one") {
    CHECK(close(mass(tilt({-1e30, -1e30}, {0, 0}, 0.5).log_p), 1, 1e-12));
    CHECK(close(mass(tilt({-3e38, -3e38, -inf}, {1, 1, 5}, 0.1).log_p), 1, 1e-12));
}

TEST_CASE("tilt: log Z overflows where the largest q / alpha does, the probabilities do not") {
    const list log_pi{std::log(0.5), std::log(0.3), std::log(0.2)};
    CHECK(tilt(log_pi, {1e308, 0, 0}, 1e-6).log_z == inf);
    CHECK(tilt(log_pi, {-1e308, -1e308, -1e308}, 1e-6).log_z == -inf);
    CHECK(close(mass(tilt(log_pi, {-1e308, -1e308, -1e308}, 1e-6).log_p), 1, 1e-12));
}

TEST_CASE("tilt: if every possible entry has q = -inf they count as equal") {
    const list log_pi{std::log(0.5), std::log(0.3), std::log(0.2)};
    CHECK(largest_difference(tilt(log_pi, list(3, -inf), 1).log_p, log_pi) <= 1e-12);
}

TEST_CASE("tilt: NaN in q or in the prior excludes that entry alone") {
    const list log_pi{std::log(0.5), not_a_number, std::log(0.2), std::log(0.2)};
    const list log_p = tilt(log_pi, {0, 9, not_a_number, 0}, 1).log_p;
    CHECK(log_p[1] == -inf);
    CHECK(log_p[2] == -inf);
    CHECK(close(log_p[0], std::log(5.0 / 7), 1e-12));
}

TEST_CASE("tilt: an impossible entry does not become possible, however large its q") {
    const list log_p = tilt({-inf, std::log(0.5)}, {1e30, 0}, 1e-3).log_p;
    CHECK(log_p[0] == -inf);
    CHECK(log_p[1] == 0);
}

TEST_CASE("tilt: nothing possible is -inf everywhere") {
    CHECK(tilt({}, {}, 1).log_z == -inf);
    const result out = tilt({-inf, not_a_number}, {1, 2}, 1);
    CHECK(out.log_z == -inf);
    CHECK(out.log_p == list{-inf, -inf});
}

TEST_CASE("tilt: the result may overwrite either input") {
    const list log_pi = random_log_pi(5, 6), q = tq::test::random_row<double>(5, 7, 0, 1);
    const list expected = tilt(log_pi, q, 0.2).log_p;
    list over_prior = log_pi, over_q = q;
    (void)tq::tilt(over_prior, q, 0.2, over_prior);
    (void)tq::tilt(log_pi, over_q, 0.2, over_q);
    CHECK(over_prior == expected);
    CHECK(over_q == expected);
}

TEST_CASE("kl_divergence: values worked out by hand, and its edges") {
    const list p{std::log(0.5), std::log(0.5)}, pi{std::log(0.25), std::log(0.75)};
    CHECK(close(tq::kl_divergence(p, pi), 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3), 1e-15));
    CHECK(tq::kl_divergence(list{0, -inf}, pi) == std::log(4.0));
    CHECK(tq::kl_divergence(p, list{-inf, 0}) == inf);
    CHECK(tq::kl_divergence({}, {}) == 0);
    CHECK(std::isnan(tq::kl_divergence(list{not_a_number, 0}, pi)));
    CHECK(tq::kl_divergence(pi, pi) == 0);
}

TEST_CASE("kl_divergence: never negative, and 0 without a tilt") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const list log_pi = random_log_pi(6, seed),
                   q = tq::test::random_row<double>(6, ~seed, 0, 1);
        const double none = tq::kl_divergence(tilt(log_pi, q, inf).log_p, log_pi);
        CHECK((none >= 0 && none <= 1e-12));
        CHECK(tq::kl_divergence(tilt(log_pi, q, 0.1).log_p, log_pi) > 0);
    }
}
