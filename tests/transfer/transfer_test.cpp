// One action value for every estimator: somebody's own, and what race, budget and cost mean for each.

#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>
#include <tq/transfer/indirect.hpp>
#include <tq/transfer/soft.hpp>

#include <algorithm>
#include <cmath>

#include "support/answers.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"
#include "transfer/asking.hpp"

using tq::test::contains;
using tq::test::even_reward;
using tq::test::message_of;

namespace {

/// The worst of the rollouts: somebody's own estimator.
struct pessimist {
    [[nodiscard]] static tq::value_estimate estimate(std::span<const double> rewards,
                                                     std::span<const double>) {
        return {.q = *std::ranges::min_element(rewards), .rollouts = rewards.size()};
    }
    [[nodiscard]] static tq::reward_range range(tq::reward_range rewards) { return rewards; }
};

constexpr tq::rollout_options sampled{.horizon = 4, .rollouts = 6, .sampling = {.temperature = 1}};

template <class Value>
std::pair<std::vector<tq::token_list>, std::size_t> decode(Value& value,
                                                           const tq::decode_options& options) {
    auto policy = tq::test::random_bigram(8, 3);
    tq::decoder decode{policy, value, options};
    std::vector<tq::token_list> prompts;
    for (tq::token_id t = 0; t < 8; ++t) prompts.push_back({t});
    auto all = decode.generate_all(prompts, 6);
    while (!all.advance().empty()) {
    }
    return {tq::test::answers_of(all), all.spent().baseline + all.spent().reward};
}

}  // namespace

TEST_CASE("transfer: an estimator of one's own, raced whole, gives exhaustive's tokens for less") {
    auto baseline = tq::test::random_bigram(8, 4);
    tq::transfer value{baseline, even_reward{}, pessimist{}, sampled};
    STATIC_REQUIRE(tq::bounded_value<decltype(value)>);
    STATIC_REQUIRE_FALSE(tq::piecewise_value<decltype(value)>);
    const tq::test::question asked{.sequence = {0}, .prompt_size = 1, .tokens_left = 5};
    tq::direct_transfer mean{baseline, even_reward{}, sampled};
    const auto worst = tq::test::ask(value, asked, {1, 2, 3});
    const auto average = tq::test::ask(mean, asked, {1, 2, 3});
    for (std::size_t z = 0; z < 3; ++z) CHECK(worst[z].q <= average[z].q);
    CHECK(worst[0].q + worst[1].q + worst[2].q < average[0].q + average[1].q + average[2].q);
    const tq::decode_options race{.alpha = 0.3, .seed = 4};
    const auto raced = decode(value, race);
    const auto all = decode(value, {.alpha = 0.3, .race = tq::race_mode::exhaustive, .seed = 4});
    CHECK(raced.first == all.first);
    CHECK(raced.second < all.second);
}

TEST_CASE(
    "transfer: a value that comes whole answers each of two states, one a prefix of the other") {
    // Views of one buffer: the states differ by their length alone.
    auto policy = tq::test::random_bigram(6, 1), baseline = tq::test::random_bigram(6, 2);
    const tq::token_list buffer{0, 1, 2, 3};
    tq::transfer value{baseline, even_reward{}, pessimist{}, sampled};
    tq::decoder decode{policy, value, {.alpha = 0.05, .top_k = 6}};
    const auto state = [&](std::size_t size) {
        return tq::decode_state{.sequence = tq::token_view{buffer}.first(size),
                                .prompt_size = 1,
                                .tokens_left = 6 - size,
                                .end_tokens = {},
                                .key = tq::random_key{size}};
    };
    const tq::decode_state both[] = {state(2), state(4)};
    const auto together = decode.next(both);
    for (std::size_t i = 0; i < 2; ++i) {
        const auto alone = decode.next({&both[i], 1});
        CHECK(alone[0].token == together[i].token);
        CHECK(alone[0].race.rollouts == together[i].race.rollouts);
        for (std::size_t z = 0; z < alone[0].distribution.size(); ++z) {
            const double a = alone[0].distribution.q[z], b = together[i].distribution.q[z];
            CHECK(((std::isnan(a) && std::isnan(b)) || a == b));
        }
    }
}

TEST_CASE("transfer: a budget of tokens holds for soft transfer, whose Q has no range") {
    auto policy = tq::test::random_bigram(8, 3), baseline = tq::test::random_bigram(8, 4);
    tq::soft_transfer value{baseline, even_reward{}, tq::implicit_weights{policy, {.beta = 0.3}},
                            sampled};
    STATIC_REQUIRE(tq::bounded_value<decltype(value)>);
    CHECK(std::isinf(value.range().hi - value.range().lo));
    const tq::decode_options free{.alpha = 0.3};
    tq::decode_options tight = free;
    tight.token_budget = 100;
    const std::size_t all = decode(value, free).second, kept = decode(value, tight).second;
    CHECK(static_cast<double>(all) > 100 * 8 * 6);
    CHECK(static_cast<double>(kept) <= 100 * 8 * 6);
    CHECK(kept > 0);
}

TEST_CASE("decoder: what a value cannot do is refused where the decoder is made") {
    auto policy = tq::test::random_bigram(8, 3);
    tq::soft_transfer soft{policy, even_reward{}, tq::implicit_weights{policy}, sampled};
    CHECK(message_of<tq::invalid_option>([&] {
              tq::decoder{policy, soft, {.race = tq::race_mode::confident}};
          }) ==
          "scorer: race = confident, must be exhaustive or exact: this value's Q does not come "
          "piece by piece");
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       tq::decoder{policy, tq::zero_value{}, {.token_budget = 3}};
                   }),
                   "scorer: token_budget = 3, must be inf: this value does not say what it costs"));
}

TEST_CASE("decoder: notes say once what saves nothing and what changes nothing") {
    auto policy = tq::test::random_bigram(8, 3);
    const auto unranged = [](tq::token_view, tq::token_view answer) {
        return static_cast<double>(answer.size() % 2);
    };
    const auto notes = [&](auto&& reward, const tq::decode_options& options) {
        tq::direct_transfer value{policy, reward, {.horizon = 3}};
        tq::decoder decode{policy, value, options};
        const std::vector<tq::token_list> prompts{{0}, {1}};
        auto all = decode.generate_all(prompts, 4);
        while (!all.advance().empty()) {
        }
        return all.notes();
    };
    CHECK(notes(even_reward{}, {.alpha = 0.01}).empty());
    const auto saves_nothing = notes(unranged, {.alpha = 0.01});
    REQUIRE_FALSE(saves_nothing.empty());
    CHECK(contains(saves_nothing[0], "race = exact drops no candidate"));
    const auto changes_nothing =
        notes(even_reward{}, {.alpha = 50, .race = tq::race_mode::exhaustive});
    REQUIRE(changes_nothing.size() == 1);
    CHECK(contains(changes_nothing[0], "Q's spread is below alpha"));
}
