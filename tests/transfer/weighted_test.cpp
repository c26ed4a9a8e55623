// Indirect and soft transfer, from real rollouts, against enumeration.

#include <cmath>
#include <tq/baselines/mixture.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/tabular/gap.hpp>
#include <tq/tabular/importance.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>
#include <tq/transfer/indirect.hpp>
#include <tq/transfer/soft.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"
#include "support/soft_ends.hpp"
#include "support/statistics.hpp"
#include "support/weighted_worlds.hpp"
#include "transfer/asking.hpp"

using namespace tq::tabular;
using tq::weighting;
using tq::test::ask;
using tq::test::close;
using tq::test::contains;
using tq::test::message_of;
using tq::test::question;
using tq::test::weighted_world;

namespace {

constexpr tq::weight_options raw{.guard = false, .on_collapse = tq::collapse_action::warn};

tq::rollout_options sampled(std::size_t rollouts) {
    return {.horizon = 9, .rollouts = rollouts, .sampling = {.temperature = 1}};
}

/// The first decision of a world's answer, after a prompt of one token.
question root_of(const tree& world, std::uint64_t seed) {
    return {.sequence = {0},
            .prompt_size = 1,
            .tokens_left = world.depth(),
            .end_tokens = world.end_token() == tree::no_end ? tq::token_list{}
                                                            : tq::token_list{world.end_token()},
            .key = tq::random_key{seed}};
}

tq::token_list all_tokens(const tree& world) {
    tq::token_list tokens;
    for (std::size_t z = 0; z < world.vocab_size(); ++z)
        tokens.push_back(static_cast<tq::token_id>(z));
    return tokens;
}

/// How estimates lie about the truth, in standard errors.
struct spread {
    double squares = 0;
    std::size_t count = 0;
    void add(const tq::value_estimate& value, double truth) {
        if (!(value.standard_error > 0) || std::isinf(value.standard_error)) {
            // Exact, or one future so likely that nothing else came up.
            if (!close(value.q, truth, 0.02)) FAIL(value.q << " not " << truth);
            return;
        }
        squares += std::pow((value.q - truth) / value.standard_error, 2);
        ++count;
    }
    /// Mean square of the z-scores: 1 if errors are right.
    [[nodiscard]] double mean() const { return squares / static_cast<double>(count); }
};

/// The values of the root's tokens, but those whose weights have a heavy tail.
void add_reliable(spread& z, const std::vector<tq::value_estimate>& values,
                  const node_values& truth, const tree& world) {
    for (std::size_t i = 0; i < values.size(); ++i)
        if (!values[i].weights || values[i].weights->k_hat < 0.5)
            z.add(values[i], truth[world.child(0, i)]);
}

void check_honest(const spread& z) {
    REQUIRE(z.count > 50);
    CHECK(z.mean() > 0.7);
    CHECK(z.mean() < 1.5);
}

}  // namespace

TEST_CASE("indirect_transfer: implicit weights find the enumerated Q, whatever the baseline") {
    spread z;
    for (std::uint64_t number = 0; number < 50; ++number) {
        const weighted_world w{number};
        const tree& world = w.world.tree;
        tree_policy policy{world, w.world.sft};
        tq::indirect_transfer value{
            tree_policy{world, w.baseline}, tree_reward{world, w.world.rewards},
            tq::implicit_weights{policy, {.beta = w.world.beta}}, sampled(400), raw};
        const node_values truth =
            importance_value(world, w.baseline, w.log_weights, w.world.rewards);
        const auto values = ask(value, root_of(world, number), all_tokens(world));
        add_reliable(z, values, truth, world);
    }
    check_honest(z);
}

TEST_CASE(
    "indirect_transfer: explicit weights are right for an exact baseline, and implicit ones "
    "agree") {
    spread z;
    for (std::uint64_t number = 0; number < 40; ++number) {
        weighted_world w{number, 0.0};  // the baseline is the optimum of base_rewards at beta
        const tree& world = w.world.tree;
        tree_policy policy{world, w.world.sft};
        const double beta = w.world.beta;
        tq::indirect_transfer explicit_value{
            tree_policy{world, w.baseline}, tree_reward{world, w.world.rewards},
            tq::explicit_weights{tree_reward{world, w.base_rewards},
                                 {.beta = beta, .base_beta = beta}},
            sampled(200), raw};
        tq::indirect_transfer implicit_value{
            tree_policy{world, w.baseline}, tree_reward{world, w.world.rewards},
            tq::implicit_weights{policy, {.beta = beta}}, sampled(200), raw};
        const node_values truth =
            expectation(world, aligned(world, w.world.sft, w.world.rewards, beta), w.world.rewards);
        const auto a = ask(explicit_value, root_of(world, number), all_tokens(world));
        const auto b = ask(implicit_value, root_of(world, number), all_tokens(world));
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (!close(a[i].q, b[i].q, 1e-4)) FAIL("world " << number);
            if (!a[i].weights || a[i].weights->k_hat < 0.5) z.add(a[i], truth[world.child(0, i)]);
        }
    }
    REQUIRE(z.count > 30);
    CHECK(z.mean() < 1.6);
}

TEST_CASE("indirect_transfer: one rollout is direct transfer, and says so") {
    const weighted_world w{7};
    const tree& world = w.world.tree;
    tree_policy policy{world, w.world.sft};
    tq::direct_transfer direct{tree_policy{world, w.baseline}, tree_reward{world, w.world.rewards},
                               sampled(1)};
    tq::indirect_transfer indirect{
        tree_policy{world, w.baseline}, tree_reward{world, w.world.rewards},
        tq::implicit_weights{policy, {.beta = w.world.beta}}, sampled(1)};
    const auto a = ask(direct, root_of(world, 3), all_tokens(world));
    const auto b = ask(indirect, root_of(world, 3), all_tokens(world));
    for (std::size_t i = 0; i < a.size(); ++i) {
        CHECK(a[i].q == b[i].q);
        if (b[i].weights) CHECK(b[i].weights->used == weighting::unweighted);
    }
}

TEST_CASE("soft_transfer: the exact baseline needs one rollout, and decodes the optimum") {
    double largest = 0;
    for (std::uint64_t number = 0; number < 100; ++number) {
        const tq::test::small_world w = tq::test::random_world(number);
        if (w.beta < 0.2) continue;  // logits are floats: their error grows as 1 / beta
        tree_policy policy{w.tree, w.sft};
        tq::soft_transfer value{tree_policy{w.tree, w.baseline}, tree_reward{w.tree, w.rewards},
                                tq::implicit_weights{policy, {.beta = w.beta}}, sampled(2)};
        const node_values soft = soft_value(w.tree, w.sft, w.rewards, w.beta);
        const auto values = ask(value, root_of(w.tree, number), all_tokens(w.tree));
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (std::isnan(values[i].q) || std::isnan(values[i].standard_error)) FAIL("NaN");
            largest = std::max(largest, std::abs(values[i].q - soft[w.tree.child(0, i)]));
        }
        // The decoder's own distribution, over all tokens, is that of the aligned baseline.
        tq::scorer scorer{policy, value, {.alpha = w.beta, .top_k = w.tree.vocab_size()}};
        const question asked = root_of(w.tree, number);
        const tq::tilted_distribution p = scorer.score(asked.state());
        for (std::size_t i = 0; i < p.size(); ++i)
            largest = std::max(
                largest,
                std::abs(
                    std::exp(p.log_p[i]) -
                    std::exp(w.baseline[w.tree.child(0, static_cast<std::size_t>(p.tokens[i]))])));
    }
    CHECK(largest < 1e-5);
}

TEST_CASE("soft_transfer: with two rewards' weights and r = r_BL the decoder is the baseline") {
    double largest = 0;
    for (std::uint64_t number = 0; number < 40; ++number) {
        const tq::test::small_world w = tq::test::random_world(number);
        tree_policy policy{w.tree, w.sft}, baseline{w.tree, w.baseline};
        tree_reward reward{w.tree, w.rewards};
        tq::soft_transfer value{baseline, reward,
                                tq::explicit_weights{reward, {.beta = w.beta, .base_beta = w.beta}},
                                sampled(4)};
        tq::scorer scorer{policy, value, baseline, {.alpha = w.beta, .top_k = 9}};
        question asked = root_of(w.tree, number);
        for (std::size_t left = w.tree.depth(); left > 0; --left) {  // down to the last token
            asked.tokens_left = left;
            const node_id node = w.tree.find(tq::token_view{asked.sequence}.subspan(1));
            const tq::tilted_distribution p = scorer.score(asked.state());
            for (std::size_t i = 0; i < p.size(); ++i)
                largest =
                    std::max(largest, std::abs(std::exp(p.log_p[i]) -
                                               std::exp(w.baseline[w.tree.child(
                                                   node, static_cast<std::size_t>(p.tokens[i]))])));
            asked.sequence.push_back(0);
        }
    }
    CHECK(largest < 1e-5);
}

TEST_CASE("soft_transfer: an ending candidate is r, or r - (beta / beta_BL) r_BL") {
    const tree world{3, 4, 2};
    const node_values r = random_rewards(world, tq::random_key{1}),
                      other = random_rewards(world, tq::random_key{2});
    const log_policy pi = random_policy(world, tq::random_key{3});
    tree_policy policy{world, pi};
    tree_reward reward{world, r}, base_reward{world, other};
    const node_id end = world.child(0, 2);
    tq::soft_transfer explicitly{policy, reward,
                                 tq::explicit_weights{base_reward, {.beta = 0.3, .base_beta = 0.5}},
                                 sampled(4)};
    const auto a = ask(explicitly, root_of(world, 4), {2}).front();
    CHECK(close(a.q, r[end] - 0.3 / 0.5 * other[end], 1e-12));
    CHECK(a.standard_error == 0);
    tq::soft_transfer implicitly{policy, reward, tq::implicit_weights{policy, {.beta = 0.3}},
                                 sampled(4)};
    const auto b = ask(implicitly, root_of(world, 4), {2}).front();
    CHECK(close(b.q, r[end], 1e-12));
    CHECK(b.standard_error == 0);
}

TEST_CASE("soft_transfer: imperfect baselines do not make answers end too early") {
    for (const double noise : {0.3, 1.0, 2.0}) {
        const tq::test::soft_ends ends = tq::test::measure_soft_ends(21, 30, 40, 0.3, noise, 16);
        CAPTURE(noise, ends.exact, ends.found);
        CHECK(std::abs(ends.found - ends.exact) < 0.02);
        CHECK(ends.least_q >= 0);
        CHECK(ends.largest_q <= 1);
    }
}

TEST_CASE("soft_transfer: any baseline's rollouts give the soft value") {
    spread z;
    for (std::uint64_t number = 0; number < 50; ++number) {
        const weighted_world w{number};
        const tree& world = w.world.tree;
        tree_policy policy{world, w.world.sft};
        tq::soft_transfer value{tree_policy{world, w.baseline},
                                tree_reward{world, w.world.rewards},
                                tq::implicit_weights{policy, {.beta = w.world.beta}},
                                sampled(400),
                                {.jackknife = true, .weights = raw}};
        CHECK(value.beta() == w.world.beta);
        const node_values truth = soft_value(world, w.world.sft, w.world.rewards, w.world.beta);
        const auto values = ask(value, root_of(world, number), all_tokens(world));
        add_reliable(z, values, truth, world);
    }
    check_honest(z);
}

TEST_CASE("mixture: rollouts know the log-probability of the mixture; shares are kept") {
    std::vector<std::size_t> counts(2);
    for (std::uint64_t number = 0; number < 20; ++number) {
        const weighted_world w{number, 1.0};
        const tree& world = w.world.tree;
        tree_policy policy{world, w.world.sft};
        tq::mixture both{tq::component{tree_policy{world, w.baseline}, 3},
                         tq::component{policy, 1}};
        CHECK(both.shares()[0] == 0.75);
        const node_values sft = log_reach(world, w.world.sft), base = log_reach(world, w.baseline);
        const question asked = root_of(world, 0);
        std::vector<tq::rollout_request> requests;
        for (std::uint64_t i = 0; i < 50; ++i)
            requests.push_back({.sequence = asked.sequence,
                                .max_tokens = world.depth(),
                                .end_tokens = asked.end_tokens,
                                .key = tq::random_key{number}.fold_in(i),
                                .log_probability = true});
        const auto rollouts = tq::run_rollouts(both, requests, {.temperature = 1});
        for (std::size_t i = 0; i < rollouts.size(); ++i) {
            const node_id leaf = world.find(rollouts[i].tokens(), rollouts[i].finished);
            const double expected =
                std::log(0.75 * std::exp(base[leaf]) + 0.25 * std::exp(sft[leaf]));
            if (!close(rollouts[i].log_probability, expected, 1e-5)) FAIL("world " << number);
            ++counts[both.component_of(requests[i].key)];
            // Read once by the model that wrote it, once by the other.
            const std::size_t rows = rollouts[i].tokens().size() + rollouts[i].finished;
            if (rollouts[i].rows != 2 * rows) FAIL("rows in world " << number);
        }
    }
    CHECK(tq::test::chi_square(counts, {0.75, 0.25}).plausible());
}

TEST_CASE("mixture: with the policy in it, weights find what the baseline never visits") {
    std::size_t wrong_alone = 0, wrong_defended = 0;
    for (std::uint64_t number = 0; number < 60; ++number) {
        const weighted_world w{number, 6.0};  // a baseline that is noise
        if (w.exact_ess_share() > 0.02) continue;
        const tree& world = w.world.tree;
        tree_policy policy{world, w.world.sft}, baseline{world, w.baseline};
        tq::mixture both{tq::component{baseline, 3}, tq::component{policy, 1}};
        tq::implicit_weights weights{policy, {.beta = w.world.beta}};
        tq::indirect_transfer one{baseline, tree_reward{world, w.world.rewards}, weights,
                                  sampled(256), raw};
        tq::indirect_transfer two{both, tree_reward{world, w.world.rewards}, weights, sampled(256),
                                  raw};
        const node_values truth =
            importance_value(world, w.baseline, w.log_weights, w.world.rewards);
        const auto a = ask(one, root_of(world, number), all_tokens(world));
        const auto b = ask(two, root_of(world, number), all_tokens(world));
        for (std::size_t i = 0; i < a.size(); ++i) {
            const double q = truth[world.child(0, i)];
            wrong_alone += std::abs(a[i].q - q) > 0.05;
            wrong_defended += std::abs(b[i].q - q) > 0.05;
        }
    }
    REQUIRE(wrong_alone > 20);
    CHECK(3 * wrong_defended < wrong_alone);
}

TEST_CASE("mixture: what it refuses") {
    auto three = tq::test::random_bigram(3, 1), four = tq::test::random_bigram(4, 1);
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       tq::mixture{tq::component{three, 1}, tq::component{four, 1}};
                   }),
                   "vocabulary of component 1 = 4, must be that of the first, 3 tokens"));
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       tq::mixture{tq::component{three, 0}};
                   }),
                   "share = 0, must be in (0, inf)"));
    tq::mixture one{tq::component{three, 1}};
    tq::direct_transfer greedy{one, tq::test::even_reward{}, {}};
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       ask(greedy, {.sequence = {0}, .prompt_size = 1, .tokens_left = 3}, {0});
                   }),
                   "mixture: temperature = 0"));
}

TEST_CASE("reference: the authors' formula, to the last digit") {
    // The fixture: one token to come, so that rollouts are known and rewards are of leaves.
    const tq::test::fixture f;
    tq::indirect_transfer value{tree_policy{f.tree, f.sft}, tree_reward{f.tree, f.rewards},
                                tq::reference_weights{tree_reward{f.tree, f.other_rewards}},
                                tq::rollout_options{.horizon = 9},
                                tq::weight_options{.form = weighting::reference}};
    const auto values = ask(value, root_of(f.tree, 0), {0, 1});
    // Greedy: 0 goes on with 0 (0.7), 1 with 1 (0.8).
    const double r00 = 0, b00 = 1, r11 = 0.5, b11 = 0.2;
    CHECK(values[0].q == std::exp(0.5 * (r00 - b00)) * r00);
    CHECK(close(values[1].q, std::exp(0.5 * (r11 - b11)) * r11, 1e-16));
    // At the last token there is no rollout, and the formula holds all the same.
    question last = root_of(f.tree, 0);
    last.sequence.push_back(1);
    last.tokens_left = 1;
    const auto leaves = ask(value, last, {0, 1});
    CHECK(close(leaves[0].q, std::exp(0.5 * (0.2 - 0.5)) * 0.2, 1e-16));
    CHECK(close(leaves[1].q, std::exp(0.5 * (0.5 - 0.2)) * 0.5, 1e-16));
    CHECK(leaves[0].weights->used == weighting::reference);
}

TEST_CASE("weighted transfers: what they refuse") {
    auto model = tq::test::random_bigram(3, 1);
    CHECK(contains(
        message_of<tq::invalid_option>([&] {
            tq::indirect_transfer{model, tq::test::even_reward{}, tq::implicit_weights{model}};
        }),
        "indirect_transfer: temperature = 0, must be > 0 for importance weights"));
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       tq::implicit_weights{model, {.beta = 0}};
                   }),
                   "implicit_weights: beta = 0"));
    CHECK(contains(message_of<tq::invalid_option>([&] {
                       tq::soft_transfer{
                           model, tq::test::even_reward{}, tq::implicit_weights{model}, sampled(2),
                           tq::soft_transfer_options{.weights = {.form = weighting::reference}}};
                   }),
                   "soft_transfer: weights.form = reference"));
    struct silent {  // a server that does not tell probabilities
        static std::vector<tq::trajectory> complete(std::span<const tq::rollout_request> requests,
                                                    tq::sampling_rule) {
            std::vector<tq::trajectory> all;
            for (const tq::rollout_request& r : requests) {
                all.push_back({.sequence = {r.sequence.begin(), r.sequence.end()},
                               .start = r.sequence.size()});
                all.back().sequence.push_back(0);
            }
            return all;
        }
    };
    tq::indirect_transfer value{silent{}, tq::test::even_reward{}, tq::implicit_weights{model},
                                sampled(2)};
    const question asked{.sequence = {0}, .prompt_size = 1, .tokens_left = 3};
    CHECK(contains(message_of<tq::invalid_option>([&] { ask(value, asked, {0}); }),
                   "log-probability of a rollout = unknown"));
}

TEST_CASE("weighted transfers: what the policy reads is counted, a shared beginning once") {
    auto model = tq::test::random_bigram(4, 5);
    tq::test::counting_policy policy{model};
    const question asked{.sequence = {0}, .prompt_size = 1, .tokens_left = 9};
    tq::indirect_transfer value{
        model, tq::test::even_reward{}, tq::implicit_weights{policy},
        tq::rollout_options{.horizon = 3, .rollouts = 4, .sampling = {.temperature = 1}}};
    const auto values = ask(value, asked, {0, 2});
    CHECK(policy.batches == std::vector<std::size_t>{2 * 4 * 3});
    for (const auto& v : values) {
        CHECK(v.spent.policy == 4 * 3 - 3);
        CHECK(v.spent.baseline == 4 * 3 - 3);
        CHECK(v.spent.reward == 1 + 4 * 3);
    }
}

TEST_CASE("decoder: a race with weighted values takes the same tokens with less work") {
    auto policy_model = tq::test::random_bigram(8, 3), baseline = tq::test::random_bigram(8, 4);
    std::size_t spent[2] = {0, 0};
    std::vector<tq::token_list> answers[2];
    for (const bool race : {false, true}) {
        auto policy = policy_model;
        tq::indirect_transfer value{
            baseline, tq::test::even_reward{}, tq::implicit_weights{policy, {.beta = 0.3}},
            tq::rollout_options{.horizon = 3, .rollouts = 8, .sampling = {.temperature = 1}}};
        STATIC_REQUIRE(tq::bounded_value<decltype(value)>);
        tq::decoder decode{policy,
                           value,
                           {.alpha = 0.5,
                            .race = race ? tq::race_mode::exact : tq::race_mode::exhaustive,
                            .seed = 4}};
        std::vector<tq::token_list> prompts;
        for (tq::token_id t = 0; t < 8; ++t) prompts.push_back({t});
        auto all = decode.generate_all(prompts, 6);
        while (!all.advance().empty()) {
        }
        for (std::size_t i = 0; i < all.size(); ++i)
            answers[race].emplace_back(all.answer(i).begin(), all.answer(i).end());
        spent[race] = all.spent().total();
        CHECK(all.weights().estimates > 0);
        CHECK(all.weights().collapsed <= all.weights().estimates);
    }
    CHECK(answers[0] == answers[1]);
    CHECK(spent[1] < spent[0]);
}

TEST_CASE("decoder: weights that collapse are reported, fall back by rule, and never make NaN") {
    // The baseline writes what the policy never would.
    tq::test::constant_policy baseline{{0, -INFINITY, 0}}, policy{{-INFINITY, 0, 0}};
    const auto decode = [&](tq::weight_options rule) {
        tq::indirect_transfer value{
            baseline, tq::test::even_reward{}, tq::implicit_weights{policy, {.beta = 0.01}},
            tq::rollout_options{.horizon = 12, .rollouts = 16, .sampling = {.temperature = 1}},
            rule};
        tq::decoder decoder{
            policy, value, {.alpha = 0.1, .top_k = 3, .race = tq::race_mode::exhaustive}};
        const tq::token_list prompt{1};
        auto stream = decoder.generate(prompt, 4);
        for (const tq::step& step : stream)
            for (std::size_t i = 0; i < step.distribution.size(); ++i)
                if (std::isnan(step.distribution.q[i]) || std::isnan(step.distribution.log_p[i]))
                    FAIL("NaN");
        CHECK(stream.answer().size() == 4);
        return stream.weights();
    };
    const tq::weight_summary warned = decode({.on_collapse = tq::collapse_action::warn});
    CHECK(warned.collapsed > 0);
    CHECK(warned.refused == 0);
    const tq::weight_summary refused = decode({.on_collapse = tq::collapse_action::refuse});
    CHECK(refused.refused == refused.collapsed);
    CHECK(refused.refused > 0);
    CHECK(decode({.on_collapse = tq::collapse_action::unweighted}).unweighted > 0);
    CHECK(decode({.on_collapse = tq::collapse_action::widen}).collapsed > 0);
}

TEST_CASE("indirect transfer: the range that it states holds what its rule can return") {
    tq::test::constant_policy model{{0, 0}};
    const auto range = [&](tq::weight_options rule) {
        return tq::indirect_transfer{model, tq::test::even_reward{},
                                     tq::implicit_weights{model, {.beta = 1}}, sampled(4), rule}
            .range();
    };
    const tq::reward_range stated = tq::test::even_reward{}.range();
    CHECK(range({}).lo == stated.lo);
    CHECK(range({.on_collapse = tq::collapse_action::refuse}).lo == -HUGE_VAL);
    CHECK(range({.on_collapse = tq::collapse_action::refuse}).hi == stated.hi);
    for (const weighting form : {weighting::plain, weighting::reference}) {
        CHECK(range({.form = form}).lo == -HUGE_VAL);
        CHECK(range({.form = form}).hi == HUGE_VAL);
    }
}
