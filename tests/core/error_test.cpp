#include <tq/core/error.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"

using tq::test::message_of;

TEST_CASE("check_option: nothing happens when the value is in range") {
    CHECK_NOTHROW(tq::check_option(true, "decoder", "alpha", 0.5, "in (0, inf]"));
}

TEST_CASE("check_option: the text names the place, the field, the value and the range") {
    const std::string text = message_of<tq::invalid_option>(
        [] { tq::check_option(false, "decoder", "alpha", -0.5, "in (0, inf]"); });
    CHECK(text == "decoder: alpha = -0.5, must be in (0, inf]");
}

TEST_CASE("invalid_option is a std::invalid_argument, backend_error a std::runtime_error") {
    CHECK_THROWS_AS(throw tq::invalid_option{"x"}, std::invalid_argument);
    CHECK_THROWS_AS(throw tq::backend_error{"x"}, std::runtime_error);
}

TEST_CASE("backend_error carries the engine's code, 0 if there is none") {
    CHECK(tq::backend_error{"lost", -3}.code() == -3);
    CHECK(tq::backend_error{"lost"}.code() == 0);
    CHECK(std::string{tq::backend_error{"lost", -3}.what()} == "lost");
}
