// Direct transfer: what is rolled out, what is judged, and what the caller gets.

#include <tq/transfer/direct.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "transfer/asking.hpp"

using tq::rollout_options;
using tq::token_list;
using tq::test::ask;
using tq::test::message_of;

namespace {

const tq::sampling_rule greedy{.temperature = 0, .top_p = 1};
const token_list end_token{3};

/// Token z is always followed by z + 1; 3 is the end token.
tq::tabular::bigram_model counting_up() {
    std::vector<std::vector<float>> logits(4, std::vector<float>(4, -50));
    for (std::size_t t = 0; t < 4; ++t) logits[t][(t + 1) % 4] = 50;
    return tq::tabular::bigram_model{std::move(logits), end_token};
}

/// Remembers what it is shown; an answer is worth its number of tokens.
struct recorder {
    void score(std::span<const tq::answer_view> answers, std::span<double> values) {
        ++calls;
        for (std::size_t i = 0; i < answers.size(); ++i) {
            prompts.emplace_back(answers[i].prompt.begin(), answers[i].prompt.end());
            shown.emplace_back(answers[i].answer.begin(), answers[i].answer.end());
            finished.push_back(answers[i].finished);
            values[i] = static_cast<double>(answers[i].answer.size());
        }
    }
    std::size_t calls = 0;
    std::vector<token_list> prompts, shown;
    std::vector<bool> finished;
};

bool same(const tq::value_estimate& a, const tq::value_estimate& b) {
    return a.q == b.q && a.rollouts == b.rollouts &&
           (a.standard_error == b.standard_error ||
            (std::isnan(a.standard_error) && std::isnan(b.standard_error)));
}

}  // namespace

TEST_CASE("direct_transfer is an action value") {
    STATIC_REQUIRE(tq::action_value<tq::direct_transfer<tq::tabular::bigram_model, recorder&>>);
    STATIC_REQUIRE(tq::action_value<tq::direct_transfer<tq::tabular::bigram_model&, recorder>>);
}

TEST_CASE("direct_transfer: the reward sees prompt, answer so far, candidate and rollout") {
    recorder judge;
    tq::direct_transfer value{
        counting_up(), judge, {.horizon = 9, .rollouts = 1, .sampling = greedy}};
    const auto values = ask(
        value, {.sequence = {2, 2, 0}, .prompt_size = 2, .tokens_left = 9, .end_tokens = end_token},
        {0, 2});
    CHECK(judge.calls == 1);
    CHECK(judge.prompts[0] == token_list{2, 2});
    CHECK(judge.shown[0] == token_list{0, 0, 1, 2});  // the rollout 1, 2, then the end token
    CHECK(judge.shown[1] == token_list{0, 2});        // at once the end token
    CHECK(judge.finished == std::vector<bool>{true, true});
    CHECK(values[0].q == 4);
    CHECK(values[1].q == 2);
    CHECK(values[0].rollouts == 1);
    CHECK(std::isnan(values[0].standard_error));  // one greedy rollout tells no spread
}

TEST_CASE("direct_transfer: no rollout is longer than the horizon or than what is left") {
    for (const std::size_t horizon : {0U, 1U, 3U, 50U})
        for (const std::size_t tokens_left : {1U, 2U, 3U, 10U}) {
            recorder judge;
            tq::direct_transfer value{tq::test::random_bigram(5, 1),
                                      judge,
                                      {.horizon = horizon, .rollouts = 3, .sampling = {}}};
            (void)ask(value, {.sequence = {0, 1, 2}, .prompt_size = 1, .tokens_left = tokens_left},
                      {0, 4});
            for (const token_list& answer : judge.shown)
                CHECK(answer.size() == 2 + 1 + std::min(horizon, tokens_left - 1));
        }
}

TEST_CASE("direct_transfer: a candidate that ends the answer is judged without a baseline call") {
    recorder judge;
    tq::test::counting_policy baseline{counting_up()};
    tq::direct_transfer value{baseline, judge, {.horizon = 9, .rollouts = 4, .sampling = {}}};
    const auto values =
        ask(value,
            {.sequence = {0, 1}, .prompt_size = 1, .tokens_left = 9, .end_tokens = end_token}, {3});
    CHECK(baseline.batches.empty());
    CHECK(judge.shown == std::vector<token_list>{{1}});  // the end token is not shown
    CHECK(judge.finished[0]);
    CHECK(values[0].q == 1);
    CHECK(values[0].standard_error == 0);
    CHECK(values[0].rollouts == 0);
}

TEST_CASE("direct_transfer: a candidate that fills the answer is judged as it stands") {
    recorder judge;
    tq::test::counting_policy baseline{counting_up()};
    tq::direct_transfer value{baseline, judge, {.horizon = 9, .rollouts = 4, .sampling = {}}};
    const auto values =
        ask(value,
            {.sequence = {0, 1}, .prompt_size = 1, .tokens_left = 1, .end_tokens = end_token}, {2});
    CHECK(baseline.batches.empty());
    CHECK(judge.shown == std::vector<token_list>{{1, 2}});
    CHECK_FALSE(judge.finished[0]);
    CHECK(values[0].q == 2);
    CHECK(values[0].standard_error == 0);
    CHECK(values[0].rollouts == 0);
}

TEST_CASE("direct_transfer: horizon 0 is the reward of answer and candidate, with unknown error") {
    const auto last = [](tq::token_view, tq::token_view answer) { return answer.back() + 0.5; };
    tq::test::counting_policy baseline{counting_up()};
    tq::direct_transfer value{baseline, last, {.horizon = 0, .rollouts = 1, .sampling = greedy}};
    const auto values =
        ask(value, {.sequence = {0, 1}, .prompt_size = 1, .tokens_left = 5}, {0, 2});
    CHECK(values[0].q == 0.5);
    CHECK(values[1].q == 2.5);
    CHECK(std::isnan(values[0].standard_error));
    CHECK(baseline.batches.empty());
}

TEST_CASE("direct_transfer: all rollouts of all candidates share the model calls") {
    tq::test::counting_policy baseline{tq::test::random_bigram(5, 1)};
    tq::direct_transfer value{baseline, recorder{}, {.horizon = 4, .rollouts = 3, .sampling = {}}};
    (void)ask(value, {.sequence = {0}, .prompt_size = 1, .tokens_left = 9}, {0, 1, 2, 4});
    CHECK(baseline.batches == std::vector<std::size_t>(4, 12));
}

TEST_CASE("direct_transfer: the number of slots changes no value") {
    const tq::test::question question{
        .sequence = {0}, .prompt_size = 1, .tokens_left = 6, .key = tq::random_key{4}};
    std::vector<double> expected;
    for (const std::size_t slots : {0U, 1U, 3U, 100U}) {
        auto baseline = tq::test::counting_policy{tq::test::random_bigram(6, 9)};
        tq::direct_transfer value{
            baseline,
            [](tq::token_view, tq::token_view answer) {
                return static_cast<double>(std::accumulate(answer.begin(), answer.end(), 0));
            },
            {.horizon = 4, .rollouts = 5, .sampling = {.temperature = 1}, .in_flight = slots}};
        std::vector<double> q;
        for (const tq::value_estimate& estimate : ask(value, question, {0, 1, 2}))
            q.push_back(estimate.q);
        if (expected.empty()) expected = q;
        CHECK(q == expected);
        if (slots > 0)
            CHECK(*std::max_element(baseline.batches.begin(), baseline.batches.end()) <= slots);
    }
}

TEST_CASE("direct_transfer: several queries in one call equal the same queries one by one") {
    for (const tq::sampling_rule rule : {greedy, tq::sampling_rule{}}) {
        const rollout_options options{
            .horizon = 5, .rollouts = rule.greedy() ? 1U : 6U, .sampling = rule};
        const auto judge = [](tq::token_view, tq::token_view answer) {
            double sum = 0;
            for (const tq::token_id token : answer) sum += token;
            return sum;
        };
        tq::direct_transfer value{tq::test::random_bigram(5, 2, end_token), judge, options};
        const std::vector<tq::test::question> questions{{.sequence = {0, 1},
                                                         .prompt_size = 1,
                                                         .tokens_left = 5,
                                                         .end_tokens = end_token,
                                                         .key = tq::random_key{1}},
                                                        {.sequence = {2},
                                                         .prompt_size = 1,
                                                         .tokens_left = 1,
                                                         .end_tokens = end_token,
                                                         .key = tq::random_key{2}},
                                                        {.sequence = {0, 1},
                                                         .prompt_size = 1,
                                                         .tokens_left = 9,
                                                         .end_tokens = end_token,
                                                         .key = tq::random_key{3}}};
        const token_list candidates{4, 3, 0};
        const auto together = tq::test::ask_all(value, questions, candidates);
        for (std::size_t i = 0; i < questions.size(); ++i)
            CHECK(std::ranges::equal(together[i], ask(value, questions[i], candidates), same));
        CHECK(same(tq::test::ask_all(value, questions, {0, 3})[2][0], together[2][2]));
    }
}

TEST_CASE("direct_transfer: lvalues are held by reference, rvalues are moved in") {
    recorder judge;
    auto baseline = counting_up();
    tq::direct_transfer outside{baseline, judge, {.horizon = 1, .rollouts = 1, .sampling = greedy}};
    STATIC_REQUIRE(std::is_same_v<decltype(outside),
                                  tq::direct_transfer<tq::tabular::bigram_model&, recorder&>>);
    (void)ask(outside, {.sequence = {0}, .prompt_size = 1, .tokens_left = 5}, {1});
    CHECK(judge.calls == 1);

    tq::direct_transfer inside{
        counting_up(), recorder{judge}, {.horizon = 1, .rollouts = 1, .sampling = greedy}};
    STATIC_REQUIRE(
        std::is_same_v<decltype(inside), tq::direct_transfer<tq::tabular::bigram_model, recorder>>);
    (void)ask(inside, {.sequence = {0}, .prompt_size = 1, .tokens_left = 5}, {1});
    CHECK(judge.calls == 1);
}

TEST_CASE("direct_transfer: what the reward throws passes through, and the object can go on") {
    bool fail = true;
    const auto judge = [&fail](tq::token_view, tq::token_view answer) {
        if (fail) throw std::domain_error{"no judgement"};
        return static_cast<double>(answer.size());
    };
    tq::direct_transfer value{
        counting_up(), judge, {.horizon = 1, .rollouts = 1, .sampling = greedy}};
    const tq::test::question question{.sequence = {0}, .prompt_size = 1, .tokens_left = 5};
    CHECK(message_of<std::domain_error>([&] {
              (void)ask(value, question, {0, 1});
          }) == "no judgement");
    fail = false;
    CHECK(ask(value, question, {0, 1})[1].q == 2);
}

TEST_CASE("direct_transfer: what the baseline throws passes through, and the object can go on") {
    tq::direct_transfer value{tq::test::flaky_policy{counting_up(), {1}},
                              recorder{},
                              {.horizon = 2, .rollouts = 1, .sampling = greedy}};
    const tq::test::question question{.sequence = {0}, .prompt_size = 1, .tokens_left = 5};
    CHECK_THROWS_AS(ask(value, question, {0, 1}), tq::backend_error);
    CHECK(ask(value, question, {0, 1})[1].q == 3);
}

TEST_CASE("direct_transfer: options out of range are refused in words") {
    const auto refusal = [](rollout_options options) {
        return message_of<tq::invalid_option>([&] {
            tq::direct_transfer{counting_up(), recorder{}, options};
        });
    };
    CHECK(refusal({.horizon = 4, .rollouts = 0, .sampling = {}}) ==
          "direct_transfer: rollouts = 0, must be >= 1");
    CHECK(refusal({.horizon = 4, .rollouts = 2, .sampling = greedy}) ==
          "direct_transfer: rollouts = 2, must be 1 when the rollouts are greedy (temperature 0): "
          "all are alike");
    CHECK(refusal({.horizon = 4, .rollouts = 1, .sampling = {.temperature = 1, .top_p = 2}}) ==
          "direct_transfer: top_p = 2, must be in (0, 1]");
}
