// The scorer against the enumerated closed form.

#include <tq/decode/scorer.hpp>
#include <tq/tabular/models.hpp>

#include <cmath>
#include <limits>
#include <numeric>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::message_of;
using tq::test::small_world;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double float_rounding = 1e-6;  // the logits are rounded to float

tq::decode_state state_of(const tq::token_list& sequence) {
    return {.sequence = sequence,
            .prompt_size = 1,
            .tokens_left = 9,
            .end_tokens = {},
            .key = tq::random_key{}};
}

/// Calls check(node, sequence) for every state of a world; the prompt is one token.
template <class Check>
void for_sequences(const tree& world, Check check) {
    for (node_id node = 0; node < world.size(); ++node) {
        if (world.is_leaf(node)) continue;
        tq::token_list sequence = tq::test::answer_of(world, node);
        sequence.insert(sequence.begin(), 0);
        check(node, sequence);
    }
}

/// Checks one distribution against enumeration in every state.
template <class Scorer>
void compare(const small_world& w, Scorer& scorer, const log_policy& prior, const node_values& q) {
    const log_policy exact = tilted(w.tree, prior, q, w.alpha);
    for_sequences(w.tree, [&](node_id node, const tq::token_list& sequence) {
        const tq::tilted_distribution d = scorer.score(state_of(sequence));
        REQUIRE(d.size() == w.tree.vocab_size());
        double z = 0;
        for (std::size_t i = 0; i < d.size(); ++i) {
            const node_id next = w.tree.child(node, static_cast<std::size_t>(d.tokens[i]));
            z += std::exp(prior[next] + q[next] / w.alpha);
            if (!close(d.log_p[i], exact[next], float_rounding * 30) ||
                !close(std::exp(d.log_p[i]), std::exp(exact[next]), float_rounding) ||
                !close(d.log_prior[i], prior[next], float_rounding) ||
                !close(d.log_pi[i], w.sft[next], float_rounding) || d.q[i] != q[next] ||
                d.q_error[i] != 0)
                FAIL("node " << node << ", candidate " << i);
            if (i > 0 && d.log_prior[i] > d.log_prior[i - 1]) FAIL("not in order, node " << node);
        }
        if (!close(d.log_z, std::log(z), float_rounding * 2)) FAIL("log Z, node " << node);
        if (!close(d.kl, state_kl(w.tree, exact, w.sft, node), float_rounding * 10))
            FAIL("KL, node " << node);
    });
    SUCCEED();
}

}  // namespace

TEST_CASE("scorer: with exact Q it is the closed form, tilting the policy") {
    tq::test::for_worlds(60, [](const small_world& w, std::uint64_t) {
        const node_values q = expectation(w.tree, w.baseline, w.rewards);
        tree_policy policy{w.tree, w.sft};
        tq::scorer scorer{
            policy, tree_value{w.tree, q}, {.alpha = w.alpha, .top_k = tq::whole_vocabulary}};
        compare(w, scorer, w.sft, q);
    });
}

TEST_CASE("scorer: with exact Q it is the closed form, tilting the baseline") {
    tq::test::for_worlds(60, [](const small_world& w, std::uint64_t) {
        const node_values q = expectation(w.tree, w.baseline, w.rewards);
        tree_policy policy{w.tree, w.sft}, baseline{w.tree, w.baseline};
        tq::scorer scorer{policy,
                          tree_value{w.tree, q},
                          baseline,
                          {.alpha = w.alpha, .top_k = tq::whole_vocabulary}};
        compare(w, scorer, w.baseline, q);
    });
}

TEST_CASE("scorer: top_k keeps the most likely of the prior and renormalises") {
    const tree world{4, 1};
    const log_policy sft{0, std::log(.1), std::log(.4), std::log(.2), std::log(.3)};
    tree_policy policy{world, sft};
    tq::scorer scorer{policy, tree_value{world, {0, 9, .5, 1, .25}}, {.alpha = .5, .top_k = 2}};
    const tq::tilted_distribution d = scorer.score(state_of({0}));
    CHECK(d.tokens == tq::token_list{1, 3});
    const double a = .4 * std::exp(1.0), b = .3 * std::exp(.5);
    CHECK(close(std::exp(d.log_p[0]), a / (a + b), float_rounding));
    CHECK(close(std::exp(d.log_pi[0]), .4, float_rounding));  // of the whole vocabulary
    CHECK(close(d.log_z, std::log(a + b), float_rounding));
    const double p = a / (a + b);
    CHECK(close(d.kl, p * std::log(p / .4) + (1 - p) * std::log((1 - p) / .3), 2 * float_rounding));
}

TEST_CASE("scorer: temperature flattens the policy before the tilt") {
    tq::test::constant_policy policy{{0, 1, 2}};
    tq::scorer scorer{policy, tq::zero_value{}, {.top_k = 3, .temperature = 2}};
    const tq::tilted_distribution d = scorer.score(state_of({0}));
    const double total = 1 + std::exp(-.5) + std::exp(-1.0);
    CHECK(d.tokens == tq::token_list{2, 1, 0});
    CHECK(close(std::exp(d.log_p[1]), std::exp(-.5) / total, float_rounding));
    CHECK(close(d.kl, 0, float_rounding));
}

TEST_CASE("scorer: a forbidden token is no candidate, and Q = -inf forbids one") {
    tq::test::constant_policy policy{{0, -std::numeric_limits<float>::infinity(), 0}};
    struct forbids_zero {
        void evaluate(std::span<const tq::value_query> queries) {
            for (const tq::value_query& query : queries)
                for (std::size_t i = 0; i < query.candidates.size(); ++i)
                    query.values[i].q = query.candidates[i] == 0 ? -inf : 1.0;
        }
    };
    tq::scorer scorer{policy, forbids_zero{}, {.top_k = tq::whole_vocabulary}};
    const tq::tilted_distribution d = scorer.score(state_of({0}));
    CHECK(d.tokens == tq::token_list{0, 2});
    CHECK(d.log_p[0] == -inf);
    CHECK(close(d.log_p[1], 0, 1e-12));
    CHECK(std::isnan(d.q_error[0]));  // it was left unknown
}

TEST_CASE("scorer: many states in one call equal the same states one by one") {
    const small_world w = tq::test::random_world(11);
    const node_values q = expectation(w.tree, w.baseline, w.rewards);
    tq::test::counting_policy policy{tree_policy{w.tree, w.sft}};
    tq::scorer scorer{policy, tree_value{w.tree, q}, {.top_k = 2}};
    std::vector<tq::token_list> sequences;
    for_sequences(w.tree, [&](node_id, const tq::token_list& s) { sequences.push_back(s); });
    std::vector<tq::decode_state> states;
    for (const tq::token_list& sequence : sequences) states.push_back(state_of(sequence));
    const auto together = scorer.score(states);
    CHECK(policy.batches == std::vector<std::size_t>{states.size()});
    for (std::size_t i = 0; i < states.size(); ++i) {
        const tq::tilted_distribution alone = scorer.score(states[i]);
        CHECK(alone.tokens == together[i].tokens);
        CHECK(alone.log_p == together[i].log_p);
        CHECK(alone.kl == together[i].kl);
    }
    CHECK(scorer.score(std::span<const tq::decode_state>{}).empty());
}

TEST_CASE("scorer: a policy may be its own anchor") {
    auto model = tq::test::random_bigram(5, 1);
    tq::scorer alone{model, tq::zero_value{}};
    tq::scorer anchored{model, tq::zero_value{}, model};
    const tq::token_list sequence{1, 2};
    CHECK(alone.score(state_of(sequence)).log_p == anchored.score(state_of(sequence)).log_p);
    CHECK(anchored.score(state_of(sequence)).kl == alone.score(state_of(sequence)).kl);
}

TEST_CASE("scorer: an anchor of another vocabulary is refused in words") {
    auto five = tq::test::random_bigram(5, 1), six = tq::test::random_bigram(6, 1);
    CHECK(message_of<tq::invalid_option>([&] { tq::scorer(five, tq::zero_value{}, six); }) ==
          "scorer: anchor vocabulary = 6, must be the policy's, 5 tokens");
}

TEST_CASE("scorer: logits or Q that make no sense are backend errors") {
    const auto failure = [](std::vector<float> row, double q) {
        tq::test::constant_policy policy{std::move(row)};
        struct constant_value {
            double q;
            void evaluate(std::span<const tq::value_query> queries) {
                for (const tq::value_query& query : queries)
                    for (tq::value_estimate& value : query.values) value.q = q;
            }
        };
        tq::scorer scorer{policy, constant_value{q}};
        return message_of<tq::backend_error>([&] { (void)scorer.score(state_of({0})); });
    };
    constexpr float infinite = std::numeric_limits<float>::infinity();
    const std::string logits = "scorer: the model's logits hold NaN or infinity, or forbid every";
    CHECK(tq::test::contains(failure({0, std::nanf("")}, 0), logits));
    CHECK(tq::test::contains(failure({0, infinite}, 0), logits));
    CHECK(tq::test::contains(failure({-infinite, -infinite}, 0), logits));
    CHECK(failure({0, 1}, std::nan("")) == "action value: Q of token 1 is NaN");
    CHECK(failure({0, 1}, 0.5) == "nothing was thrown");
}

TEST_CASE("scorer: options out of range are refused in words") {
    auto model = tq::test::random_bigram(2, 1);
    CHECK(message_of<tq::invalid_option>([&] {
              tq::scorer(model, tq::zero_value{}, {.alpha = -1});
          }) == "scorer: alpha = -1, must be in (0, inf]");
}
