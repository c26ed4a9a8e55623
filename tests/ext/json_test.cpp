#include <tq/decode/decoder.hpp>
#include <tq/ext/json/json.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/policies.hpp"

using nlohmann::json;

TEST_CASE("json: a step has its fields and one entry for each candidate") {
    tq::decoder decode{tq::test::random_bigram(5, 1, {4}), tq::zero_value{}, {.top_k = 3}};
    const tq::token_list prompt{0};
    for (const tq::step& step : decode.generate(prompt, 3)) {
        const json j = step;
        CHECK(j.size() == 12);
        CHECK(j.at("alpha") == step.distribution.alpha);
        CHECK(j.at("prompt") == 0);
        CHECK(j.at("position") == step.position);
        CHECK(j.at("token") == step.token);
        CHECK(j.at("choice") == step.choice);
        CHECK(j.at("ends") == step.ends);
        CHECK(j.at("kl") == step.kl);
        CHECK(j.at("log_z") == step.distribution.log_z);
        REQUIRE(j.at("candidates").size() == 3);
        for (std::size_t i = 0; i < 3; ++i) {
            const json& candidate = j.at("candidates")[i];
            CHECK(candidate.size() == 7);
            CHECK(candidate.at("rollouts") == step.distribution.rollouts[i]);
            CHECK(candidate.at("token") == step.distribution.tokens[i]);
            CHECK(candidate.at("log_pi") == step.distribution.log_pi[i]);
            CHECK(candidate.at("log_prior") == step.distribution.log_prior[i]);
            CHECK(candidate.at("q") == step.distribution.q[i]);
            CHECK(candidate.at("q_error") == step.distribution.q_error[i]);
            CHECK(candidate.at("log_p") == step.distribution.log_p[i]);
        }
    }
}

TEST_CASE("json: one candidate and none are still lists") {
    tq::tilted_distribution one;
    one.tokens = {7};
    one.log_pi = one.log_prior = one.q = one.q_error = one.log_p = {0.5};
    one.rollouts = {3};
    CHECK(json(one).dump() == R"([{"log_p":0.5,"log_pi":0.5,"log_prior":0.5,"q":0.5,)"
                              R"("q_error":0.5,"rollouts":3,"token":7}])");
    CHECK(json(tq::tilted_distribution{}).dump() == "[]");
}

TEST_CASE("json: NaN and infinity are written as null") {
    tq::tilted_distribution d;
    d.tokens = {7};
    d.log_pi = d.log_prior = d.q = {1};
    d.rollouts = {1};
    d.q_error = {std::nan("")};
    d.log_p = {-std::numeric_limits<double>::infinity()};
    const json back = json::parse(json(d).dump());
    CHECK(back[0].at("q_error").is_null());
    CHECK(back[0].at("log_p").is_null());
    CHECK(back[0].at("q") == 1);
}

TEST_CASE("json: options, with the selection in words") {
    const json options = tq::decode_options{
        .alpha = 0.25, .top_k = 4, .select = tq::selection::argmax, .seed = ~std::uint64_t{0}};
    CHECK(options.at("alpha") == 0.25);
    CHECK(options.at("top_k") == 4);
    CHECK(options.at("temperature") == 1.0);
    CHECK(options.at("select") == "argmax");
    CHECK(options.at("seed") == ~std::uint64_t{0});
    CHECK(json(tq::decode_options{}).at("select") == "sample");
    CHECK(json(tq::decode_options{}).at("race") == "exact");
    CHECK(json(tq::decode_options{.race = tq::race_mode::confident}).at("race") == "confident");

    const json rollouts = tq::rollout_options{
        .horizon = 8, .rollouts = 2, .sampling = {.temperature = 0.5, .top_p = 0.9}};
    CHECK(rollouts.dump() ==
          R"({"horizon":8,"in_flight":0,"reuse":true,"rollouts":2,"temperature":0.5,"top_p":0.9})");
}

TEST_CASE("json: a Q that rests on importance weights says how well") {
    tq::tilted_distribution d;
    d.tokens = {7, 8};
    d.log_pi = d.log_prior = d.q = d.q_error = d.log_p = {0.5, 0.5};
    d.rollouts = {3, 3};
    d.weights = {std::nullopt, tq::weight_diagnostics{}};
    d.weights[1]->ess = 2.5;
    d.weights[1]->used = tq::weighting::pareto_smoothed;
    d.weights[1]->collapsed = true;
    const json candidates = d;
    CHECK_FALSE(candidates[0].contains("weights"));
    const json& weights = candidates[1].at("weights");
    CHECK(weights.size() == 8);
    CHECK(weights.at("ess") == 2.5);
    CHECK(weights.at("used") == "pareto_smoothed");
    CHECK(weights.at("collapsed") == true);
    CHECK(weights.at("refused") == false);
}
