#include <tq/tabular/models.hpp>

#include <algorithm>
#include <array>
#include <cmath>

#include "support/catch.hpp"

using namespace tq::tabular;

namespace {

const tree world{3, 2, 2};

}  // namespace

TEST_CASE("tree models are a policy, a reward and an action value") {
    STATIC_REQUIRE(tq::policy<tree_policy>);
    STATIC_REQUIRE(tq::batch_reward<tree_reward>);
    STATIC_REQUIRE(tq::action_value<tree_value>);
}

TEST_CASE("tree_policy: rows are the log-probabilities of the node, behind any prompt") {
    const log_policy pi = random_policy(world, tq::random_key{1});
    tree_policy model{world, pi, 2};
    CHECK(std::ranges::equal(model.end_tokens(), tq::token_list{2}));
    const tq::token_list root{1, 1}, inner{0, 2, 1}, full{0, 2, 1, 0};
    const std::vector<tq::token_view> sequences{root, inner, full};
    const auto rows = model.next_logits(sequences);
    for (std::size_t z = 0; z < 3; ++z) {
        CHECK(rows[0][z] == static_cast<float>(pi[world.child(0, z)]));
        CHECK(rows[1][z] == static_cast<float>(pi[world.child(world.child(0, 1), z)]));
        CHECK(rows[2][z] == 0.0F);  // a complete answer: flat
    }
    const tq::token_list outside{1, 1, 2, 0};
    const tq::token_view view{outside};
    CHECK_THROWS_AS(model.next_logits({&view, 1}), tq::invalid_option);
    CHECK(tree_policy{tree{2, 1}, log_policy(3)}.end_tokens().empty());
}

TEST_CASE("tree_reward: finished and cut answers are different nodes") {
    node_values rewards = random_rewards(world, tq::random_key{2});
    tree_reward judge{world, rewards};
    const tq::token_list answer{1};
    const std::array answers{tq::answer_view{{}, answer, false}, tq::answer_view{{}, answer, true},
                             tq::answer_view{{}, {}, true}};
    std::array<double, 3> values{};
    judge.score(answers, values);
    CHECK(values[0] == rewards[world.child(0, 1)]);
    CHECK(values[1] == rewards[world.child(world.child(0, 1), 2)]);
    CHECK(values[2] == rewards[world.child(0, 2)]);
}

TEST_CASE("tree_value: the candidates' own nodes, exactly") {
    const node_values q = random_rewards(world, tq::random_key{3});
    const tree_value value{world, q};
    const tq::token_list sequence{0, 1}, candidates{2, 0};
    const tq::decode_state state{.sequence = sequence,
                                 .prompt_size = 1,
                                 .tokens_left = 1,
                                 .end_tokens = {},
                                 .key = tq::random_key{}};
    std::array<tq::value_estimate, 2> values;
    const tq::value_query query{state, candidates, values};
    value.evaluate({&query, 1});
    CHECK(values[0].q == q[world.child(world.child(0, 1), 2)]);
    CHECK(values[1].q == q[world.child(world.child(0, 1), 0)]);
    CHECK(values[0].standard_error == 0);
}

TEST_CASE("random_policy and random_rewards: proper, reproducible and different for each key") {
    const log_policy pi = random_policy(world, tq::random_key{4}, 2.0);
    CHECK(pi == random_policy(world, tq::random_key{4}, 2.0));
    CHECK(pi != random_policy(world, tq::random_key{5}, 2.0));
    for (node_id node = 0; node < world.size(); ++node) {
        if (world.is_leaf(node)) continue;
        double mass = 0;
        for (std::size_t z = 0; z < 3; ++z) mass += std::exp(pi[world.child(node, z)]);
        CHECK(std::abs(mass - 1) < 1e-12);
    }
    const log_policy flat = random_policy(world, tq::random_key{4}, 0.0);
    CHECK(std::abs(flat[1] - std::log(1.0 / 3)) < 1e-12);
    for (const double r : random_rewards(world, tq::random_key{6})) CHECK((r > 0 && r < 1));
}
