// One budget of model tokens, shared out over an answer.

#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>
#include <limits>

#include "support/answers.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"

namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();

struct outcome {
    std::vector<tq::token_list> answers = {};
    std::vector<tq::step> steps = {};
    double look_ahead = 0;  // model tokens per emitted token
    double first_half = 0;  // share of them spent in the first half of the answers
};

constexpr std::size_t length = 16;

outcome decode(const tq::decode_options& options, const tq::rollout_options& rollouts,
               tq::token_id count = 24) {
    tq::tabular::bigram_model model = tq::test::random_bigram(32, 4);
    tq::direct_transfer q{model, tq::test::even_reward{}, rollouts};
    tq::decoder decoder{model, q, options};
    std::vector<tq::token_list> prompts;
    for (tq::token_id i = 0; i < count; ++i) prompts.push_back({i});
    auto answers = decoder.generate_all(prompts, length);
    outcome result;
    double early = 0, emitted = 0;
    for (auto steps = answers.advance(); !steps.empty(); steps = answers.advance())
        for (const tq::step& step : steps) {
            const auto spent = static_cast<double>(step.spent.baseline + step.spent.reward);
            result.look_ahead += spent;
            if (step.position < length / 2) early += spent;
            ++emitted;
            result.steps.push_back(step);
        }
    result.first_half = early / result.look_ahead;
    result.look_ahead /= emitted;
    result.answers = tq::test::answers_of(answers);
    return result;
}

tq::decode_options budgeted(double budget, double front = 1) {
    return {.alpha = 0.1,
            .select = tq::selection::argmax,
            .token_budget = budget,
            .budget_front = front};
}

constexpr tq::rollout_options greedy{.horizon = 32, .reuse = false};
constexpr tq::rollout_options sampled{
    .horizon = 32, .rollouts = 16, .sampling = {.temperature = 1}};

}  // namespace

TEST_CASE("budget: look-ahead keeps to it on average, and more of it buys more reward") {
    const auto& rollouts = GENERATE(from_range(std::vector{greedy, sampled}));
    const auto reward = [](const outcome& result) {
        double sum = 0;
        for (const tq::token_list& answer : result.answers)
            sum += tq::test::even_reward{}({}, answer);
        return sum / static_cast<double>(result.answers.size());
    };
    double least = 1, most = 0;
    for (const double budget : {1.0, 20.0, 60.0, 200.0, 600.0}) {
        const outcome result = decode(budgeted(budget), rollouts);
        INFO("budget " << budget << ": " << result.look_ahead << ", reward " << reward(result));
        // one step may overdraw by the rounding of a round; later steps pay it back
        CHECK(result.look_ahead <= budget * 1.05 + 8);
        for (const tq::step& step : result.steps) {
            CHECK(step.race.starters <= step.race.contenders);
            CHECK(step.race.token_budget >= 0);
            if (step.race.starters == 1) CHECK(step.race.rollouts == 0);
        }
        if (budget == 1.0) least = reward(result);
        most = reward(result);
    }
    CHECK(most > least + 0.1);
}

TEST_CASE("budget: too little of it means several rollouts halve, and none means none") {
    std::size_t halved = 0;
    for (const tq::step& step : decode(budgeted(150), sampled).steps) halved += step.race.halved;
    CHECK(halved > 0);
    for (const tq::step& step : decode(budgeted(1e-9), sampled).steps)
        CHECK(step.race.rollouts == 0);
}

TEST_CASE("budget: at the front more of it is spent early") {
    const double even = decode(budgeted(40), greedy).first_half;
    const double front = decode(budgeted(40, 4), greedy).first_half;
    INFO(front << " against " << even);
    CHECK(front > even + 0.05);
}

TEST_CASE("budget: a step keeps to what it was given") {
    for (const double budget : {10.0, 40.0, 150.0, 400.0})
        for (const tq::rollout_options& rollouts : {greedy, sampled})
            for (const tq::step& step : decode(budgeted(budget), rollouts).steps)
                // what look-ahead had to catch up on may come on top
                if (static_cast<double>(step.spent.baseline + step.spent.reward) >
                    step.race.token_budget + 2 * length)
                    FAIL(step.race.rollouts << " rollouts for " << step.race.token_budget);
    SUCCEED();
}

TEST_CASE("budget: what is open at a step follows from the answer's length and what was spent") {
    const tq::token_list sequence{0, 1, 2, 3};
    tq::decode_state state{.sequence = sequence,
                           .prompt_size = 1,
                           .tokens_left = 13,
                           .end_tokens = {},
                           .key = tq::random_key{},
                           .spent = 25};
    CHECK(tq::step_budget(budgeted(10), state) == 15);     // 4 of 16 steps: 40, 25 are gone
    CHECK(tq::step_budget(budgeted(10, 2), state) == 55);  // half of 160 is open
    CHECK(tq::step_budget(budgeted(1), state) == 0);
    CHECK(std::isinf(tq::step_budget(budgeted(unlimited), state)));
}

TEST_CASE("budget: options out of range are refused") {
    CHECK_THROWS_AS(tq::validate(budgeted(0), "test"), tq::invalid_option);
    CHECK_THROWS_AS(tq::validate(budgeted(10, 0.5), "test"), tq::invalid_option);
    tq::decode_options options = budgeted(10);
    options.race = tq::race_mode::exhaustive;
    CHECK_THROWS_AS(tq::validate(options, "test"), tq::invalid_option);
}
