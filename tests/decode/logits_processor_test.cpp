// The tilt in other people's loops: by logits, by pick, and with a value of any type.

#include <tq/decode/any_action_value.hpp>
#include <tq/decode/budget.hpp>
#include <tq/decode/logits_processor.hpp>
#include <tq/transfer/direct.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"

using tq::decode_options;
using tq::token_list;
using tq::test::contains;
using tq::test::even_reward;
using tq::test::message_of;
using tq::test::random_bigram;

namespace {

constexpr float forbidden = -std::numeric_limits<float>::infinity();

/// Q that differs from token to token and from state to state, in (0, 1).
struct arbitrary_value {
    void evaluate(std::span<const tq::value_query> queries) const {
        for (const tq::value_query& query : queries)
            for (std::size_t i = 0; i < query.candidates.size(); ++i)
                query.values[i] = {.q = tq::random_key{query.state.sequence.size()}.uniform(
                                       static_cast<std::uint64_t>(query.candidates[i])),
                                   .standard_error = 0};
    }
};

struct failing_value {
    static void evaluate(std::span<const tq::value_query>) {
        throw tq::backend_error{"planned failure", 7};
    }
};

/// The state after some tokens of an answer to the prompt {0}.
tq::decode_state state_of(const token_list& sequence, std::uint64_t seed = 0) {
    return {.sequence = sequence,
            .prompt_size = 1,
            .tokens_left = 6,
            .end_tokens = {},
            .key = tq::random_key{seed}};
}

template <class Model>
std::vector<float> row_of(Model& model, const token_list& sequence) {
    const tq::token_view view{sequence};
    const tq::logits_view row = model.next_logits({&view, 1})[0];
    return {row.begin(), row.end()};
}

std::vector<double> softmax(const std::vector<float>& row, double temperature = 1) {
    const double z = tq::log_sum_exp(std::span{row}, temperature);
    std::vector<double> p;
    for (const float logit : row) p.push_back(std::exp(double{logit} / temperature - z));
    return p;
}

}  // namespace

TEST_CASE("logits_processor: the softmax of what it leaves is the tilted distribution") {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        auto model = random_bigram(9, seed);
        const token_list sequence{0, static_cast<tq::token_id>(seed % 9)};
        const decode_options options{.alpha = 0.05 + 0.02 * static_cast<double>(seed),
                                     .top_k = 1 + seed % 9,
                                     .temperature = 0.5 + 0.1 * static_cast<double>(seed % 8)};
        tq::scorer score{model, arbitrary_value{}, options};
        const tq::tilted_distribution expected = score.score(state_of(sequence));
        const std::vector<float> before = row_of(model, sequence);
        std::vector<double> wanted(before.size(), 0.0);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            const auto token = static_cast<std::size_t>(expected.tokens[i]);
            wanted[token] = std::exp(expected.log_p[i]);
        }
        std::vector<float> row = before;
        tq::logits_processor steer{arbitrary_value{}, options};
        steer(row, state_of(sequence));
        const std::vector<double> p = softmax(row);
        for (std::size_t z = 0; z < p.size(); ++z) {
            if (std::abs(p[z] - wanted[z]) > 1e-6) FAIL("seed " << seed << ", token " << z);
            if (wanted[z] == 0) REQUIRE(row[z] == forbidden);
        }
    }
}

TEST_CASE("logits_processor: several rows together are the rows one by one") {
    auto model = random_bigram(9, 5);
    const std::vector<token_list> sequences{{0}, {0, 3}, {0, 3, 8}};
    std::vector<std::vector<float>> rows, singles;
    std::vector<std::span<float>> views;
    std::vector<tq::decode_state> states;
    tq::direct_transfer q{
        model, even_reward{}, {.horizon = 4, .rollouts = 3, .sampling = {.temperature = 1}}};
    tq::logits_processor steer{q, {.alpha = 0.2, .top_k = 4}};
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        rows.push_back(row_of(model, sequences[i]));
        states.push_back(state_of(sequences[i], i));
    }
    for (std::vector<float>& row : rows) views.emplace_back(row);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        singles.push_back(rows[i]);
        steer(singles[i], states[i]);
    }
    steer(views, states);
    CHECK(rows == singles);
}

TEST_CASE("logits_processor: pick is the decoder's decision, races included") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        auto model = random_bigram(12, seed);
        const decode_options options{.alpha = 0.3, .top_k = 8, .race = tq::race_mode::exact};
        const tq::rollout_options look{.horizon = 4};
        tq::direct_transfer q{model, even_reward{}, look};
        tq::decoder decode{model, q, options};
        tq::logits_processor steer{tq::direct_transfer{model, even_reward{}, look}, options};
        const token_list sequence{0, static_cast<tq::token_id>(seed % 12)};
        const tq::decode_state state = state_of(sequence, seed + 1);
        const tq::step expected = std::move(decode.next({&state, 1})[0]);
        const tq::step found = steer.pick(row_of(model, sequence), state);
        if (found.token != expected.token || found.race.rollouts != expected.race.rollouts)
            FAIL("seed " << seed);
    }
}

TEST_CASE("logits_processor: what it cannot do it says, and leaves rows as they were") {
    auto model = random_bigram(6, 1);
    const token_list sequence{0};
    const tq::decode_state state = state_of(sequence);
    std::vector<float> row = row_of(model, sequence);
    const std::vector<float> before = row;

    tq::logits_processor races{tq::direct_transfer{model, even_reward{}}, {.token_budget = 10}};
    CHECK(contains(message_of<tq::invalid_option>([&] { races(row, state); }),
                   "logits_processor: token_budget = 10, must be inf where logits are wanted"));
    tq::logits_processor fails{failing_value{}};
    CHECK(message_of<tq::backend_error>([&] { fails(row, state); }) == "planned failure");
    CHECK(row == before);

    tq::logits_processor steer{arbitrary_value{}};
    std::vector<float> broken = before;
    broken[2] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(steer(broken, state), tq::backend_error);
    CHECK((broken[1] == before[1] && std::isnan(broken[2])));
    std::vector<float> dead(6, forbidden);
    CHECK_THROWS_AS(steer(dead, state), tq::backend_error);
    std::vector<float> none;
    CHECK(contains(message_of<tq::invalid_option>([&] { steer(none, state); }), "row size = 0"));
    const std::span<float> view{row};
    CHECK(contains(
        message_of<tq::invalid_option>([&] {
            steer(std::span<const std::span<float>>{&view, 1}, std::span<const tq::decode_state>{});
        }),
        "rows = 1, must be as many as states, 0"));
    CHECK_THROWS_AS((tq::logits_processor{arbitrary_value{}, {.alpha = 0}}), tq::invalid_option);
    steer(row, state);  // still usable
    CHECK(row != before);
}

TEST_CASE("any_action_value: the same answers as the value, moved in or by reference") {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        auto model = random_bigram(8, seed, {7});
        const tq::rollout_options look{.horizon = 5, .rollouts = 3, .sampling = {.temperature = 1}};
        tq::direct_transfer q{model, even_reward{}, look};
        tq::any_action_value referred{q}, owned = tq::direct_transfer{model, even_reward{}, look},
                                          copy{owned};
        for (const tq::race_mode race : {tq::race_mode::exhaustive, tq::race_mode::exact}) {
            const decode_options options{.alpha = 0.3, .top_k = 6, .race = race, .seed = seed};
            const auto decoded = [&](auto& value) {
                tq::decoder decode{model, value, options};
                auto stream = decode.generate(token_list{0}, 8);
                for (auto it = stream.begin(); it != stream.end(); ++it) continue;
                return token_list(stream.answer().begin(), stream.answer().end());
            };
            const token_list expected = decoded(q);
            CHECK(decoded(referred) == expected);
            CHECK(decoded(copy) == expected);
        }
    }
}

TEST_CASE("any_action_value: range and cost come through, so that a race saves evaluations") {
    auto model = random_bigram(20, 2);
    tq::direct_transfer q{
        model, even_reward{}, {.horizon = 4, .rollouts = 2, .sampling = {.temperature = 1}}};
    tq::any_action_value any{q}, bare{arbitrary_value{}};
    const token_list sequence{0};
    const tq::decode_state state = state_of(sequence);
    CHECK((any.range().lo == 0 && any.range().hi == 1));
    CHECK(any.cost(state) == 2 * q.cost(state));
    CHECK((std::isinf(bare.range().hi) && bare.cost(state) == 1));

    std::size_t raced = 0, all = 0;
    for (const tq::race_mode race : {tq::race_mode::exact, tq::race_mode::exhaustive}) {
        tq::decoder decode{model, any, {.alpha = 0.5, .top_k = 20, .race = race}};
        for (const tq::step& step : decode.generate(sequence, 6))
            (race == tq::race_mode::exact ? raced : all) += step.race.rollouts;
    }
    CHECK(raced < all / 2);
}

TEST_CASE("logits_processor: without a key, positions have random numbers of their own") {
    constexpr std::size_t vocabulary = 50;
    tq::logits_processor steer{tq::zero_value{}, {.top_k = vocabulary, .seed = 7}};
    const std::vector<float> row(vocabulary, 0.0F);
    token_list ids{0};
    for (std::size_t left = 20; left > 0; --left)
        ids.push_back(
            steer
                .pick(row,
                      {.sequence = ids, .prompt_size = 1, .tokens_left = left, .end_tokens = {}})
                .token);
    // They are those of the decoder's own loop.
    tq::test::constant_policy policy{row};
    tq::decoder decoder{policy, tq::zero_value{}, {.top_k = vocabulary, .seed = 7}};
    token_list expected{0};
    for (const tq::step& step : decoder.generate(token_list{0}, 20)) expected.push_back(step.token);
    CHECK(ids == expected);
}

TEST_CASE("logits_processor: budgets hold over an answer, as in the decoder's own loop") {
    constexpr std::size_t length = 24, vocabulary = 32;
    tq::tabular::bigram_model model = random_bigram(vocabulary, 6), baseline = model;
    const auto decode = [&](const tq::decode_options& options, bool own_loop) {
        tq::direct_transfer q{baseline, even_reward{}, {.horizon = 8, .reuse = false}};
        token_list ids{3};
        std::size_t spent = 0;
        double kl = 0;
        const auto take = [&](const tq::step& step) {
            ids.push_back(step.token);
            spent += step.spent.baseline + step.spent.reward;
            kl += step.tilt_kl();
        };
        if (own_loop) {
            tq::decoder decoder{model, q, options};
            for (const tq::step& step : decoder.generate(token_list{3}, length)) take(step);
        } else {
            tq::logits_processor steer{q, options};
            for (std::size_t left = length; left > 0; --left) {
                const token_list sequence = ids;
                const tq::token_view view{sequence};
                take(steer.pick(model.next_logits({&view, 1})[0], {.sequence = sequence,
                                                                   .prompt_size = 1,
                                                                   .tokens_left = left,
                                                                   .end_tokens = {}}));
            }
        }
        return std::tuple{ids, spent, kl};
    };
    const tq::decode_options thrifty{.alpha = 0.05, .token_budget = 20};
    const auto mine = decode(thrifty, false), own = decode(thrifty, true);
    CHECK(std::get<0>(mine) == std::get<0>(own));
    CHECK(std::get<1>(mine) == std::get<1>(own));  // its divergence is open
    CHECK(std::get<1>(mine) <= 20 * length);
    const tq::decode_options near{.alpha_rule = tq::kl_per_answer{2}, .top_k = vocabulary};
    CHECK(decode(near, false) == decode(near, true));
    CHECK(std::get<2>(decode(near, false)) <= 2 + 1e-6);
}
