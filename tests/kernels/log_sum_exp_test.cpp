#include <tq/kernels/log_sum_exp.hpp>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"

using tq::test::bound_of;
using tq::test::random_row;

namespace {

template <class Real>
double log_sum_exp(const std::vector<Real>& row, double temperature = 1) {
    return tq::log_sum_exp(std::span<const Real>{row}, temperature);
}

template <class Real>
double error_of(const std::vector<Real>& row, double temperature = 1) {
    const long double exact = tq::test::slow_log_sum_exp(std::span<const Real>{row}, temperature);
    return static_cast<double>(std::abs(log_sum_exp(row, temperature) - exact));
}

template <class Real>
constexpr double bound = std::is_same_v<Real, float> ? bound_of("log_sum_exp", "float")
                                                     : bound_of("log_sum_exp", "double");

template <class Real>
double bound_at(double temperature) {
    return std::is_same_v<Real, double> || temperature == 1
               ? bound<Real>
               : bound_of("log_sum_exp", "float at other temperatures");
}

}  // namespace

TEMPLATE_TEST_CASE("log_sum_exp: within its bound of long double at every size", "", float,
                   double) {
    for (const std::size_t size :
         {1U, 2U, 3U, 15U, 16U, 17U, 255U, 256U, 257U, 1000U, 49152U, 262144U})
        for (const double spread : {1.0, 20.0, 200.0}) {
            const std::vector<TestType> row = random_row<TestType>(size, size, -spread, 0);
            INFO("size " << size << ", spread " << spread);
            CHECK(error_of(row) <= bound<TestType>);
        }
}

TEMPLATE_TEST_CASE("log_sum_exp: within its bound at every temperature", "", float, double) {
    for (const double temperature : {0.05, 0.5, 0.7, 1.3, 3.0, 100.0})
        for (std::uint64_t seed = 0; seed < 10; ++seed) {
            const auto row = random_row<TestType>(2000, seed, -25 * std::min(temperature, 4.0), 3);
            INFO("temperature " << temperature);
            CHECK(error_of(row, temperature) <= bound_at<TestType>(temperature));
        }
}

TEMPLATE_TEST_CASE("log_sum_exp: within its bound when one entry stands above many equal ones", "",
                   float, double) {
    for (const double below : {0.1, 1.1, 3.3, 7.7, 11.7, 15.3, 16.64, 16.7, 17.4})
        for (const double temperature : {1.0, 0.7}) {
            std::vector<TestType> row(49152, static_cast<TestType>(-below));
            row[777] = 0;
            INFO("below " << below << ", temperature " << temperature);
            CHECK(error_of(row, temperature) <= bound_at<TestType>(temperature));
        }
}

TEMPLATE_TEST_CASE("log_sum_exp: nothing, or nothing possible, is -inf", "", float, double) {
    constexpr TestType inf = std::numeric_limits<TestType>::infinity();
    CHECK(log_sum_exp(std::vector<TestType>{}) == -HUGE_VAL);
    for (const std::size_t size : {1U, 16U, 17U, 300U})
        CHECK(log_sum_exp(std::vector<TestType>(size, -inf)) == -HUGE_VAL);
}

TEMPLATE_TEST_CASE("log_sum_exp: a NaN anywhere gives NaN, also beside infinities", "", float,
                   double) {
    constexpr TestType inf = std::numeric_limits<TestType>::infinity();
    for (const std::size_t size : {1U, 3U, 16U, 19U, 259U})
        for (std::size_t where = 0; where < size; ++where) {
            std::vector<TestType> row(size, where % 2 ? inf : TestType{1});
            row[where] = std::numeric_limits<TestType>::quiet_NaN();
            if (!std::isnan(log_sum_exp(row))) FAIL("size " << size << ", NaN at " << where);
        }
    SUCCEED();
}

TEMPLATE_TEST_CASE("log_sum_exp: +inf wins over everything but NaN", "", float, double) {
    constexpr TestType inf = std::numeric_limits<TestType>::infinity();
    for (const std::size_t size : {1U, 17U, 300U})
        for (const std::size_t where : {std::size_t{0}, size / 2, size - 1}) {
            std::vector<TestType> row(size, -inf);
            row[where] = inf;
            CHECK(log_sum_exp(row) == HUGE_VAL);
        }
}

TEMPLATE_TEST_CASE("log_sum_exp: masked entries do not count", "", float, double) {
    std::vector<TestType> row = random_row<TestType>(300, 9, -3, 3), masked = row;
    for (std::size_t i = 0; i < 700; ++i)
        masked.insert(masked.begin() + static_cast<std::ptrdiff_t>(i),
                      -std::numeric_limits<TestType>::infinity());
    CHECK(std::abs(log_sum_exp(masked) - log_sum_exp(row)) <= bound<TestType>);
}

TEMPLATE_TEST_CASE("log_sum_exp: huge, tiny and far-apart entries neither overflow nor vanish", "",
                   float, double) {
    constexpr TestType huge = std::numeric_limits<TestType>::max(),
                       denormal = std::numeric_limits<TestType>::denorm_min();
    const double large = static_cast<double>(huge);
    CHECK(log_sum_exp(std::vector<TestType>{huge, -huge}) == large);
    CHECK(log_sum_exp(std::vector<TestType>{-huge, -huge}) == -large);
    CHECK(std::abs(log_sum_exp(std::vector<TestType>(8, denormal)) - std::log(8.0)) < 1e-12);
    CHECK(std::abs(log_sum_exp(std::vector<TestType>{TestType{500}, TestType{300}}) - 500) <=
          bound<TestType>);
}

TEMPLATE_TEST_CASE("log_sum_exp: a row that is not aligned gives the same", "", float, double) {
    const std::vector<TestType> row = random_row<TestType>(601, 4, -9, 0);
    for (std::size_t skip = 0; skip < 5; ++skip) {
        const auto part = std::span<const TestType>{row}.subspan(skip);
        const std::vector<TestType> copy(part.begin(), part.end());
        CHECK(std::abs(tq::log_sum_exp(part) - log_sum_exp(copy)) <= bound<TestType>);
    }
}
