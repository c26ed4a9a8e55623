#include <tq/concepts/action_value.hpp>

#include <array>
#include <cmath>
#include <vector>

#include "support/catch.hpp"

namespace {

struct takes_vector {
    void evaluate(const std::vector<tq::value_query>&) {}
};
struct one_query {
    void evaluate(const tq::value_query&) {}
};
struct changes_queries {
    void evaluate(std::span<tq::value_query>) {}
};
struct misnamed {
    void estimate(std::span<const tq::value_query>) {}
};

}  // namespace

TEST_CASE("action_value: accepted and rejected types") {
    STATIC_REQUIRE(tq::action_value<tq::zero_value>);
    STATIC_REQUIRE(tq::action_value<tq::zero_value&>);
    STATIC_REQUIRE(tq::action_value<const tq::zero_value>);
    STATIC_REQUIRE(tq::explain_action_value<tq::zero_value>());
    STATIC_REQUIRE_FALSE(tq::action_value<takes_vector>);
    STATIC_REQUIRE_FALSE(tq::action_value<one_query>);
    STATIC_REQUIRE_FALSE(tq::action_value<changes_queries>);
    STATIC_REQUIRE_FALSE(tq::action_value<misnamed>);
}

TEST_CASE("value_estimate: until it is filled its error is unknown") {
    CHECK(std::isnan(tq::value_estimate{}.standard_error));
    CHECK(tq::value_estimate{}.rollouts == 0);
}

TEST_CASE("zero_value: every candidate of every query is worth 0, exactly") {
    std::array<tq::value_estimate, 3> values{{{.q = 5}, {.q = 6}, {.q = 7}}};
    const tq::token_list candidates{1, 2};
    const tq::decode_state state{.sequence = candidates,
                                 .prompt_size = 1,
                                 .tokens_left = 1,
                                 .end_tokens = {},
                                 .key = tq::random_key{}};
    const std::array queries{
        tq::value_query{state, candidates, std::span{values}.first(2)},
        tq::value_query{state, std::span{candidates}.first(1), std::span{values}.last(1)}};
    tq::zero_value{}.evaluate(queries);
    for (const tq::value_estimate& value : values) {
        CHECK(value.q == 0);
        CHECK(value.standard_error == 0);
        CHECK(value.rollouts == 0);
    }
}
