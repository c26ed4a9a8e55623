#include <tq/rollout/options.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/message.hpp"

using tq::test::message_of;

namespace {

std::string refusal(const tq::rollout_options& options) {
    return message_of<tq::invalid_option>([&] { tq::validate(options, "here"); });
}
std::string refusal(const tq::sampling_rule& rule) {
    return message_of<tq::invalid_option>([&] { tq::validate(rule, "here"); });
}
const std::string accepted = "nothing was thrown";

}  // namespace

TEST_CASE("rollout options: the defaults and the ends of every range are accepted") {
    CHECK(refusal(tq::rollout_options{}) == accepted);
    CHECK(refusal(tq::rollout_options{.horizon = 0}) == accepted);
    CHECK(refusal({.horizon = 1'000'000'000, .rollouts = 1000, .sampling = {}}) == accepted);
    for (const double temperature : {0.0, 1e-3, 1.0, 1e3})
        CHECK(refusal(tq::sampling_rule{.temperature = temperature, .top_p = 1}) == accepted);
    CHECK(refusal(tq::sampling_rule{.temperature = 1, .top_p = 1e-9}) == accepted);
}

TEST_CASE("sampling rule: a temperature out of range is refused in words") {
    CHECK(refusal(tq::sampling_rule{.temperature = -1, .top_p = 1}) ==
          "here: temperature = -1, must be 0 (greedy) or in [0.001, 1000]");
    for (const double temperature : {1e-4, 1001.0, std::nan(""), HUGE_VAL})
        CHECK(refusal(tq::sampling_rule{.temperature = temperature, .top_p = 1}) != accepted);
}

TEST_CASE("sampling rule: a top_p out of range is refused in words") {
    CHECK(refusal(tq::sampling_rule{.temperature = 1, .top_p = 0}) ==
          "here: top_p = 0, must be in (0, 1]");
    for (const double top_p : {-0.5, 1.1, std::nan("")})
        CHECK(refusal(tq::sampling_rule{.temperature = 1, .top_p = top_p}) != accepted);
}

TEST_CASE("rollout options: no rollouts, and several greedy ones, are refused in words") {
    CHECK(refusal({.horizon = 4, .rollouts = 0, .sampling = {}}) ==
          "here: rollouts = 0, must be >= 1");
    CHECK(refusal({.horizon = 4, .rollouts = 2, .sampling = {.temperature = 0, .top_p = 1}}) ==
          "here: rollouts = 2, must be 1 when the rollouts are greedy (temperature 0): all are "
          "alike");
}
