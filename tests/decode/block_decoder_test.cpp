#include <tq/decode/block_decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <algorithm>
#include <cmath>
#include <map>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"

using namespace tq::tabular;
using tq::token_list;

namespace {

struct small {
    tree world{3, 4, 2};  // token 2 ends an answer
    log_policy pi = random_policy(world, tq::random_key{1});
    node_values rewards = random_rewards(world, tq::random_key{2});
};

template <class Decoder>
token_list answer_of(Decoder& decoder, std::size_t index = 0) {
    const std::vector<token_list> prompts{{0}};
    auto answers = decoder.generate_all(prompts, 4, index);
    while (!answers.advance().empty()) {
    }
    return {answers.answer(0).begin(), answers.answer(0).end()};
}

}  // namespace

TEST_CASE("block_decoder: a block of the whole answer, argmax, is best-of-n") {
    small s;
    tree_policy policy{s.world, s.pi};
    tree_reward reward{s.world, s.rewards};
    tq::direct_transfer q{policy, reward, {.horizon = 4}};
    for (std::uint64_t seed = 0; seed < 100; ++seed) {
        tq::block_decoder decoder{policy,
                                  q,
                                  {.block = tq::whole_answer,
                                   .candidates = 5,
                                   .select = tq::selection::argmax,
                                   .seed = seed}};
        const std::vector<token_list> prompts{{0}};
        auto answers = decoder.generate_all(prompts, 4);
        const auto steps = answers.advance();
        REQUIRE(steps.size() == 1);
        const tq::block_step& step = steps[0];
        REQUIRE(step.blocks.size() == 5);
        for (std::size_t i = 0; i < 5; ++i) {
            CHECK(step.q[step.choice] >= step.q[i]);
            CHECK(step.q_error[i] == 0);  // whole answers are judged as they stand
        }
        const double value = s.rewards[s.world.find(answers.answer(0), answers.finished(0))];
        CHECK(value == step.q[step.choice]);
        CHECK(answers.advance().empty());
    }
}

TEST_CASE("block_decoder: with many candidates, blocks follow the enumerated closed form") {
    small s;
    constexpr double alpha = 0.4;
    constexpr std::size_t trials = 3000;
    const node_values q = expectation(s.world, s.pi, s.rewards);
    // Two-token blocks: law over the nodes where the first block ends.
    const node_values reach = log_reach(s.world, s.pi);
    std::map<node_id, double> expected;
    double total = 0;
    for (node_id node = 1; node < s.world.size(); ++node)
        if (s.world.depth_of(node) == 2 || (s.world.is_leaf(node) && s.world.depth_of(node) < 2))
            total += expected[node] = std::exp(reach[node] + q[node] / alpha);

    tree_policy policy{s.world, s.pi};
    tree_value exact{s.world, q};
    std::map<node_id, double> counts;
    for (std::uint64_t seed = 0; seed < trials; ++seed) {
        tq::block_decoder decoder{
            policy, exact, {.alpha = alpha, .block = 2, .candidates = 100, .seed = seed}};
        const std::vector<token_list> prompts{{0}};
        auto answers = decoder.generate_all(prompts, 4);
        const auto steps = answers.advance();
        counts[s.world.find(answers.answer(0), answers.finished(0))] += 1;
        CHECK(steps[0].kl <= std::log(100.0));
    }
    double chi2 = 0;
    for (const auto& [node, weight] : expected) {
        const double mean = trials * weight / total;
        chi2 += (counts[node] - mean) * (counts[node] - mean) / mean;
    }
    CHECK(expected.size() == 7);
    CHECK(chi2 < 22.46);  // 99.9 % point with 6 degrees of freedom
}

TEST_CASE("block_decoder: alpha = inf draws from the proposer; limits and end tokens hold") {
    small s;
    tree_policy policy{s.world, s.pi};
    tq::block_decoder plain{
        policy, tq::zero_value{}, {.alpha = std::numeric_limits<double>::infinity(), .block = 3}};
    std::map<token_list, double> counts;
    for (std::size_t i = 0; i < 2000; ++i) {
        const token_list answer = answer_of(plain, i);
        CHECK(answer.size() <= 4);
        CHECK(std::count(answer.begin(), answer.end(), 2) == 0);
        counts[answer] += 1;
    }
    const double p_empty = std::exp(s.pi[s.world.find({}, true)]);
    CHECK(std::abs(counts[{}] / 2000 - p_empty) < 4 * std::sqrt(p_empty * (1 - p_empty) / 2000));
}

TEST_CASE("block_decoder: prompts decoded together get the answers they get alone") {
    small s;
    tree_policy policy{s.world, s.pi};
    tree_reward reward{s.world, s.rewards};
    tq::direct_transfer q{
        policy, reward, {.horizon = 2, .rollouts = 3, .sampling = {.temperature = 1}}};
    tq::block_decoder decoder{policy, q, {.block = 2, .candidates = 4}};
    const std::vector<token_list> prompts{{0}, {0}, {0}};
    auto answers = decoder.generate_all(prompts, 4);
    while (!answers.advance().empty()) {
    }
    for (std::size_t i = 0; i < 3; ++i) {
        const token_list together{answers.answer(i).begin(), answers.answer(i).end()};
        CHECK(together == answer_of(decoder, i));
    }
}

TEST_CASE("block_decoder: a Q of NaN is an error, and no token is lost") {
    struct {
        void evaluate(std::span<const tq::value_query> queries) {
            for (const tq::value_query& query : queries)
                for (tq::value_estimate& value : query.values) value.q = calls == 1 ? NAN : 0;
            ++calls;
        }
        int calls = 0;
    } value;
    tq::block_decoder decoder{tq::test::random_bigram(4, 1), value, {.block = 2, .candidates = 3}};
    const std::vector<token_list> prompts{{0}};
    auto answers = decoder.generate_all(prompts, 6);
    REQUIRE(answers.advance().size() == 1);
    CHECK(tq::test::message_of<tq::backend_error>([&] { (void)answers.advance(); }) ==
          "action value: Q of block 0 is NaN");
    CHECK(answers.answer(0).size() == 2);
    CHECK(answers.advance().size() == 1);
    CHECK(answers.answer(0).size() == 4);
}

TEST_CASE("block_decoder: options out of range are refused in words") {
    small s;
    tree_policy policy{s.world, s.pi};
    const auto refusal = [&](tq::block_options options) {
        return tq::test::message_of<tq::invalid_option>([&] {
            tq::block_decoder{policy, tq::zero_value{}, options};
        });
    };
    CHECK(refusal({.alpha = 0}) == "block_decoder: alpha = 0, must be in (0, inf]");
    CHECK(refusal({.block = 0}) == "block_decoder: block = 0, must be >= 1");
    CHECK(refusal({.candidates = 0}) == "block_decoder: candidates = 0, must be >= 1");
    CHECK(refusal({.proposal = {.temperature = 0}}) ==
          "block_decoder: candidates = 8, must be 1 when the proposal is greedy (temperature 0): "
          "all are alike");
}
