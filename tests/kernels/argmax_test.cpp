#include <tq/kernels/argmax.hpp>

#include <limits>
#include <vector>

#include "kernels/reference.hpp"
#include "support/catch.hpp"

namespace {

constexpr float inf = std::numeric_limits<float>::infinity(),
                not_a_number = std::numeric_limits<float>::quiet_NaN();

tq::token_id argmax(const std::vector<float>& row) {
    return tq::argmax(std::span<const float>{row});
}

}  // namespace

TEST_CASE("argmax: the largest entry, wherever it is") {
    for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 257U})
        for (std::size_t where = 0; where < size; where += 7) {
            std::vector<float> row = tq::test::random_row<float>(size, size, -1, 1);
            row[where] = 2;
            CHECK(argmax(row) == static_cast<tq::token_id>(where));
        }
}

TEST_CASE("argmax: among equals the lowest index") {
    CHECK(argmax({1, 3, 3, 2, 3}) == 1);
    CHECK(argmax({0, -0.0F}) == 0);
}

TEST_CASE("argmax: NaN and -inf are never chosen") {
    CHECK(argmax({not_a_number, 1, not_a_number, 2, not_a_number}) == 3);
    CHECK(argmax({-inf, -1e30F, -inf}) == 1);
    CHECK(argmax({-inf, not_a_number}) == tq::no_token);
    CHECK(argmax({not_a_number}) == tq::no_token);
    CHECK(argmax({}) == tq::no_token);
}

TEST_CASE("argmax: +inf is larger than everything, the lowest one first") {
    CHECK(argmax({std::numeric_limits<float>::max(), inf, inf}) == 1);
}

TEST_CASE("argmax: doubles are compared as doubles") {
    const std::vector<double> row{1, 1 + 1e-15};
    CHECK(tq::argmax(std::span<const double>{row}) == 1);
}
