// Model tokens: what is counted is what an engine that shares prefixes has to read.

#include <tq/decode/block_decoder.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/counted_worlds.hpp"
#include "support/policies.hpp"

using tq::test::count_error;
using tq::test::prefix_counter;
using tq::test::prior;
using tq::test::reading_policy;
using tq::test::reading_reward;

namespace {

tq::token_list long_prompt() {
    tq::token_list prompt;
    for (int i = 0; i < 200; ++i) prompt.push_back(i % 31);
    return prompt;
}

struct cost {
    tq::model_tokens spent, read;  // read: besides the prompt
};

cost cost_of(const tq::decode_options& options, const tq::rollout_options& rollouts,
             std::size_t length, const tq::token_list& ends = {}) {
    reading_policy policy{tq::test::random_bigram(40, 2, ends)},
        baseline{tq::test::random_bigram(40, 2, ends)};
    prefix_counter judged;
    tq::direct_transfer q{baseline, reading_reward{judged}, rollouts};
    tq::decoder decoder{policy, q, options};
    const std::vector<tq::token_list> prompts{long_prompt()};
    auto answers = decoder.generate_all(prompts, length);
    tq::model_tokens steps;
    for (auto step = answers.advance(); !step.empty(); step = answers.advance())
        steps += step.front().spent;
    CHECK(steps == answers.spent());
    CHECK(steps == answers.spent(0));
    const auto beyond = [](std::size_t count) { return count < 200 ? 0 : count - 200; };
    return {steps,
            {.policy = beyond(policy.reads.count()),
             .baseline = beyond(baseline.reads.count()),
             .reward = beyond(judged.count())}};
}

}  // namespace

TEST_CASE("cost: a 200-token prompt, 10 candidates, horizon 20 and 128 tokens take 48k, not 727k") {
    const cost all = cost_of({.alpha = 0.1, .top_k = 10, .race = tq::race_mode::exhaustive},
                             {.horizon = 20, .reuse = false}, 128);
    // rollouts end with the answer: 108 steps with 20 tokens each, then 19, 18 ... 0
    CHECK(all.spent == tq::model_tokens{.policy = 128,
                                        .baseline = 10 * (108 * 20 + 190),
                                        .reward = 10 * (108 * 21 + 190 + 20)});
    CHECK(all.spent.total() == 48408);
    CHECK(all.read.policy == 127);  // the first row is the prompt's own
    CHECK(all.read.baseline <= all.spent.baseline);
    CHECK(all.read.reward <= all.spent.reward);
}

TEST_CASE("cost: with reuse nothing is read twice, and what is counted is what is read") {
    const auto race = GENERATE(tq::race_mode::exhaustive, tq::race_mode::exact);
    const cost reused = cost_of({.alpha = 0.1, .top_k = 10, .race = race}, {.horizon = 20}, 128);
    CHECK(reused.read.policy == 127);
    CHECK(reused.spent.baseline == reused.read.baseline);
    CHECK(reused.spent.reward == reused.read.reward);
    CHECK(reused.spent.total() < 48408);
}

TEST_CASE("cost: what is counted is what is read, whoever is anchor, in every race") {
    tq::test::for_each_count([](const tq::decode_options& options, prior from, bool own) {
        CAPTURE(own, static_cast<int>(from), tq::to_string(options.race), options.token_budget,
                tq::to_string(options.select));
        CHECK(std::abs(count_error(options, from, own)) <= 0.02);
    });
}

TEST_CASE("cost: several rollouts read their candidate once") {
    const cost sampled = cost_of({.alpha = 0.1, .top_k = 4, .race = tq::race_mode::exhaustive},
                                 {.horizon = 8, .rollouts = 3, .sampling = {.temperature = 1}}, 12);
    // L = 8, 8, 8, 8, 7 ... 0 : 4 candidates of 1 + 3 (L - 1) and 1 + 3 L
    CHECK(sampled.spent.baseline == 4 * (11 + 3 * (4 * 7 + 21)));
    CHECK(sampled.spent.reward == 4 * (12 + 3 * (4 * 8 + 28)));
    CHECK(sampled.read.baseline <= sampled.spent.baseline);
}

TEST_CASE("cost: what was read for rollouts that were given up counts too") {
    const tq::token_list ends{0, 1, 2, 3, 4, 5, 6, 7};  // rollouts end at all depths
    for (const double alpha : {0.1, 0.3, 1.0}) {
        const cost raced =
            cost_of({.alpha = alpha, .top_k = 8, .race = tq::race_mode::exact, .seed = 5},
                    {.horizon = 20, .rollouts = 4, .sampling = {.temperature = 1}}, 64, ends);
        CHECK(raced.read.baseline <= raced.spent.baseline);
        CHECK(raced.read.reward <= raced.spent.reward);
    }
}

TEST_CASE("cost: blocks of 8 take an eighth of the look-ahead") {
    reading_policy model{tq::test::random_bigram(40, 2)};
    prefix_counter judged;
    tq::direct_transfer q{model, reading_reward{judged}, {.horizon = 20}};
    tq::block_decoder decoder{model, q, {.block = 8, .candidates = 10}};
    const std::vector<tq::token_list> prompts{long_prompt()};
    auto answers = decoder.generate_all(prompts, 128);
    while (!answers.advance().empty()) {
    }
    CHECK(answers.answer(0).size() == 128);
    const tq::model_tokens spent = answers.spent();
    CHECK(spent.total() < 12000);
    CHECK(spent.total() >= 16 * 10 * 8);
    CHECK(judged.count() - 200 <= spent.reward);
    CHECK(judged.count() - 200 > spent.reward / 2);
}
