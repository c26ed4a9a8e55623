#include <tq/core/bisect.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"

using tq::detail::bisect;

TEST_CASE("bisect: closes in from either side, to neighbouring doubles") {
    const auto up = bisect(0, 2, 200, [](double x) { return x * x < 2; });
    CHECK((up.yes * up.yes < 2 && up.no * up.no >= 2));
    CHECK(std::nextafter(up.yes, 2) == up.no);
    const auto down = bisect(2, 0, 200, [](double x) { return x * x > 2; });
    CHECK((down.yes * down.yes > 2 && down.no * down.no <= 2));
    CHECK(std::nextafter(down.yes, 0) == down.no);
}

TEST_CASE("bisect: each step halves, and the ends are never tried") {
    int calls = 0;
    const auto place = bisect(0, 1, 10, [&](double x) {
        ++calls;
        CHECK((x > 0 && x < 1));
        return x < 0.3;
    });
    CHECK(calls == 10);
    CHECK(place.no - place.yes == std::ldexp(1.0, -10));
    CHECK((place.yes < 0.3 && place.no >= 0.3));
    CHECK(bisect(3, 4, 0, [](double) { return true; }).yes == 3);
}

TEST_CASE("bisect: the largest doubles do not overflow, and nothing between them is no step") {
    constexpr double most = std::numeric_limits<double>::max();
    const auto place = bisect(-most, most, 2000, [](double x) { return x < 1e300; });
    CHECK(std::nextafter(place.yes, most) == place.no);
    CHECK(bisect(1, 1, 50, [](double) -> bool { throw 1; }).no == 1);
}
