#include <tq/kernels/projection.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"

using list = std::vector<float>;
using tq::test::bound_of;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

list random_list(std::size_t size, std::uint64_t seed) {
    return tq::test::random_row<float>(size, seed, -2, 2);
}

long double exact_dot(std::span<const float> a, std::span<const float> b, bool absolute = false) {
    long double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const long double product = static_cast<long double>(a[i]) * static_cast<long double>(b[i]);
        sum += absolute ? std::abs(product) : product;
    }
    return sum;
}

}  // namespace

TEST_CASE("project: every label of every state, against long double") {
    for (const std::size_t d : {1U, 7U, 8U, 9U, 576U, 4099U})
        for (const std::size_t labels : {1U, 2U, 5U}) {
            std::vector<list> states;
            for (std::size_t i = 0; i < 3; ++i) states.push_back(random_list(d, 10 * d + i));
            const std::vector<std::span<const float>> views(states.begin(), states.end());
            const list weights = random_list(labels * d, d), bias = random_list(labels, d + 1);
            std::vector<double> out(3 * labels), bare(out);
            tq::project(views, weights, bias, out);
            tq::project(views, weights, {}, bare);
            INFO("d " << d << ", labels " << labels);
            for (std::size_t i = 0; i < 3; ++i)
                for (std::size_t l = 0; l < labels; ++l) {
                    const auto row = std::span{weights}.subspan(l * d, d);
                    const long double scale = exact_dot(states[i], row, true) + 2;
                    const long double exact = exact_dot(states[i], row);
                    const auto bound =
                        static_cast<long double>(bound_of("project", "relative, per entry")) *
                        static_cast<long double>(d + 1) * scale;
                    CHECK(std::abs(static_cast<long double>(bare[i * labels + l]) - exact) <=
                          bound);
                    CHECK(std::abs(static_cast<long double>(out[i * labels + l]) - exact -
                                   static_cast<long double>(bias[l])) <= bound);
                }
        }
}

TEST_CASE("project: a state's row does not depend on the others, nor on where it lies in memory") {
    const std::size_t d = 77;
    const list weights = random_list(d, 1), bias{0.5F};
    const list state = random_list(d, 2), other = random_list(d, 3);
    double alone = 0;
    const std::vector<std::span<const float>> one{state};
    tq::project(one, weights, bias, {&alone, 1});
    for (std::size_t shift = 0; shift < 9; ++shift) {
        list moved(shift + d);
        std::copy(state.begin(), state.end(), moved.begin() + static_cast<std::ptrdiff_t>(shift));
        const std::vector<std::span<const float>> three{other, std::span{moved}.subspan(shift),
                                                        other};
        std::vector<double> out(3);
        tq::project(three, weights, bias, out);
        CHECK(out[1] == alone);
        CHECK(out[0] == out[2]);
    }
}

TEST_CASE("project: nothing, no dimension, infinities") {
    tq::project({}, list{1}, list{1}, {});
    std::vector<double> out(2);
    const std::vector<std::span<const float>> empty(1);
    tq::project(empty, {}, list{3, 4}, out);
    CHECK(out == std::vector<double>{3, 4});
    const list state{1, inf};
    const std::vector<std::span<const float>> views{state};
    tq::project(views, list{1, 1, 1, 0}, {}, out);
    CHECK(out[0] == HUGE_VAL);
    CHECK(std::isnan(out[1]));  // inf * 0
}

TEST_CASE("cosine: 1 to itself, -1 to its opposite, 0 to what is orthogonal, NaN to nothing") {
    list a = random_list(384, 5), opposite = a;
    for (float& x : opposite) x *= -3;
    CHECK(std::abs(tq::cosine(a, a) - 1) <= bound_of("cosine", "absolute"));
    CHECK(std::abs(tq::cosine(a, opposite) + 1) <= bound_of("cosine", "absolute"));
    CHECK(tq::cosine(list{1, 0, 0}, list{0, 2, 5}) == 0);
    CHECK(std::abs(tq::cosine(list{1, 1}, list{1, 0}) - std::sqrt(0.5)) <= 1e-15);
    CHECK(std::isnan(tq::cosine(list{1, 2}, list{0, 0})));
    CHECK(std::isnan(tq::cosine({}, {})));
    CHECK(std::isnan(tq::cosine(list{inf, 2}, list{1, 2})));
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        const list b = random_list(4096, seed), c = random_list(4096, ~seed);
        const long double exact =
            exact_dot(b, c) / (std::sqrt(exact_dot(b, b)) * std::sqrt(exact_dot(c, c)));
        CHECK(std::abs(static_cast<long double>(tq::cosine(b, c)) - exact) <=
              static_cast<long double>(bound_of("cosine", "absolute")));
        CHECK(std::abs(tq::cosine(b, b)) <= 1);
    }
}

TEST_CASE("scale_to_unit: length 1, the same direction; nothing stays nothing") {
    list a = random_list(384, 9);
    const list before = a;
    tq::scale_to_unit(a);
    CHECK(std::abs(exact_dot(a, a) - 1) < 1e-6);
    CHECK(std::abs(tq::cosine(a, before) - 1) < 1e-12);
    list zero(5);
    tq::scale_to_unit(zero);
    CHECK(zero == list(5));
}
