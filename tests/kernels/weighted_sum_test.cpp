#include <tq/kernels/weighted_sum.hpp>

#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"
#include "support/statistics.hpp"

using list = std::vector<double>;
using tq::weighted_mean;
using tq::test::bound_of;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

long double slow_mean(const list& log_weights, const list& x) {
    const long double z = tq::test::slow_log_sum_exp(std::span<const double>{log_weights});
    long double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
        if (log_weights[i] > -inf)
            sum += std::exp(static_cast<long double>(log_weights[i]) - z) *
                   static_cast<long double>(x[i]);
    return sum;
}

}  // namespace

TEST_CASE("weighted_mean: within its bound of long double, at any length and level") {
    for (const std::size_t size : {1U, 2U, 17U, 1000U, 200'000U})
        for (const double level : {-5000.0, 0.0, 5000.0})
            for (const double spread : {0.0, 1e-3, 20.0}) {
                const list w = tq::test::random_row<double>(size, size, level - spread, level);
                const list x = tq::test::random_row<double>(size, size + 1, 0.5, 1.0);
                const auto result = weighted_mean(w, x);
                const auto exact_mean = static_cast<double>(slow_mean(w, x));
                INFO("size " << size << ", level " << level << ", spread " << spread);
                CHECK(std::abs(result.mean - exact_mean) <= bound_of("weighted_mean", "mean"));
                const auto z =
                    static_cast<double>(tq::test::slow_log_sum_exp(std::span<const double>{w}) -
                                        static_cast<long double>(level));
                CHECK(tq::test::close(
                    result.log_weight - level, z,
                    bound_of("weighted_mean", "log_weight") + std::abs(level) * 2.3e-16));
            }
}

TEST_CASE("weighted_mean: many small weights beside a large one are not lost") {
    list w(1'000'001, std::log(1e-16)), x(w.size(), 1.0);
    w[0] = 0;
    x[0] = 0;
    CHECK(tq::test::close(weighted_mean(w, x).mean, 1e-10 / (1 + 1e-10), 1e-23));
}

TEST_CASE("weighted_mean: weights of zero count nothing, whatever their value") {
    const auto result = weighted_mean(list{-inf, 0, -inf}, list{inf, 3, std::nan("")});
    CHECK(result.mean == 3);
    CHECK(result.log_weight == 0);
}

TEST_CASE("weighted_mean: nothing, no weight, too much weight, and NaN") {
    CHECK(weighted_mean({}, {}).log_weight == -inf);
    CHECK(std::isnan(weighted_mean({}, {}).mean));
    CHECK(weighted_mean(list{-inf, -inf}, list{1, 2}).log_weight == -inf);
    CHECK(std::isnan(weighted_mean(list{inf, 0}, list{1, 2}).mean));
    for (const auto& w : {list{std::nan(""), 0}, list{0, std::nan("")}})
        CHECK(std::isnan(weighted_mean(w, list{1, 2}).log_weight));
    CHECK(std::isnan(weighted_mean(list{0, 0}, list{1, inf - inf}).mean));
}
