#include <tq/decode/options.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/message.hpp"

namespace {

std::string refusal(const tq::decode_options& options) {
    return tq::test::message_of<tq::invalid_option>([&] { tq::validate(options, "here"); });
}
const std::string accepted = "nothing was thrown";

}  // namespace

TEST_CASE("decode options: the defaults and the ends of every range are accepted") {
    CHECK(refusal({}) == accepted);
    for (const double alpha : {1e-300, 1.0, HUGE_VAL}) CHECK(refusal({.alpha = alpha}) == accepted);
    CHECK(refusal({.top_k = tq::whole_vocabulary}) == accepted);
    CHECK(refusal({.top_k = 1}) == accepted);
    for (const double temperature : {1e-3, 1e3})
        CHECK(refusal({.temperature = temperature}) == accepted);
}

TEST_CASE("decode options: values out of range are refused in words") {
    CHECK(refusal({.alpha = 0}) == "here: alpha = 0, must be in (0, inf]");
    CHECK(refusal({.top_k = 0}) == "here: top_k = 0, must be >= 1");
    CHECK(refusal({.temperature = 0}) == "here: temperature = 0, must be in [0.001, 1000]");
    for (const double alpha : {-1.0, -HUGE_VAL, std::nan("")})
        CHECK(refusal({.alpha = alpha}) != accepted);
    for (const double temperature : {-1.0, 1e-4, 1e4, HUGE_VAL, std::nan("")})
        CHECK(refusal({.temperature = temperature}) != accepted);
}
