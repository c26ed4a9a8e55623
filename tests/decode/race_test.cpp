#include <tq/decode/decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"

using namespace tq::tabular;

namespace {

/// A tree's rewards with the range that they keep to.
struct ranged_reward : tree_reward {
    using tree_reward::tree_reward;
    [[nodiscard]] tq::reward_range range() const { return {0, 1}; }
};

struct setting {
    double alpha = 0.3;
    tq::selection select = tq::selection::sample;
    std::size_t rollouts = 1;
    double temperature = 0;
    std::size_t horizon = 3;
};

struct result {
    std::vector<tq::token_list> answers;
    std::size_t baseline_tokens = 0, undecided = 0;
    double kl = 0;
};

result decode(std::uint64_t seed, const setting& s, tq::race_mode race, bool reuse) {
    const tree world{4, 5, seed % 2 ? 3 : tree::no_end};
    const tq::random_key key = tq::random_key{7}.fold_in(seed);
    const log_policy pi = random_policy(world, key.fold_in(0), 1.5);
    const node_values rewards = random_rewards(world, key.fold_in(1));
    tree_policy policy{world, pi};
    tq::test::counting_policy baseline{tree_policy{world, aligned(world, pi, rewards, 0.3)}};
    ranged_reward reward{world, rewards};
    tq::direct_transfer q{baseline,
                          reward,
                          {.horizon = s.horizon,
                           .rollouts = s.rollouts,
                           .sampling = {.temperature = s.temperature},
                           .reuse = reuse}};
    tq::decoder decoder{
        policy, q, {.alpha = s.alpha, .top_k = 4, .select = s.select, .race = race, .seed = seed}};
    const std::vector<tq::token_list> prompts{{0}, {1}, {2}};
    auto answers = decoder.generate_all(prompts, 5);
    result out;
    while (!answers.advance().empty()) {
    }
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        out.answers.emplace_back(answers.answer(i).begin(), answers.answer(i).end());
        out.kl += answers.kl(i);
    }
    for (const std::size_t size : baseline.batches) out.baseline_tokens += size;
    return out;
}

}  // namespace

TEST_CASE("race: exact gives token for token what exhaustive gives, at fewer tokens") {
    const setting settings[] = {{.alpha = 1.0},
                                {.alpha = 0.1, .select = tq::selection::argmax},
                                {.alpha = 0.2, .rollouts = 4, .temperature = 1},
                                {.alpha = 1e-6, .select = tq::selection::argmax},
                                {.alpha = 1e9},
                                {.alpha = std::numeric_limits<double>::infinity()},
                                {.alpha = 0.5, .horizon = 0}};
    for (const setting& s : settings) {
        std::size_t all = 0, raced = 0;
        for (std::uint64_t seed = 0; seed < 60; ++seed) {
            const result exhaustive = decode(seed, s, tq::race_mode::exhaustive, false);
            const result exact = decode(seed, s, tq::race_mode::exact, true);
            CHECK(exact.answers == exhaustive.answers);
            all += exhaustive.baseline_tokens;
            raced += exact.baseline_tokens;
        }
        INFO("alpha " << s.alpha << ": " << raced << " of " << all << " baseline tokens");
        if (s.horizon > 0) CHECK(raced < all);
        if (s.alpha >= 1e9) CHECK(raced == 0);  // the noise alone decides
    }
}

TEST_CASE("race: with one candidate nothing is rolled out") {
    const tree world{3, 4};
    const log_policy pi = random_policy(world, tq::random_key{1});
    tree_policy policy{world, pi};
    tq::test::counting_policy baseline{tree_policy{world, pi}};
    tq::direct_transfer q{baseline, ranged_reward{world, random_rewards(world, tq::random_key{2})}};
    tq::decoder decoder{policy, q, {.top_k = 1, .race = tq::race_mode::exact}};
    for (const tq::step& step : decoder.generate(tq::token_list{0}, 4)) {
        CHECK(step.distribution.rollouts[0] == 0);
        CHECK(std::isnan(step.distribution.q[0]));
        CHECK(std::isnan(step.kl));  // what p is was left open
    }
    CHECK(baseline.batches.empty());
}

TEST_CASE("race: a value without a stated range is raced to the end, with the whole distribution") {
    const tree world{3, 4};
    const log_policy pi = random_policy(world, tq::random_key{1});
    tree_policy policy{world, pi}, baseline{world, pi};
    tree_reward reward{world, random_rewards(world, tq::random_key{2})};
    tq::direct_transfer q{baseline, reward, {.horizon = 4}};
    tq::decode_options options{.alpha = 0.2, .top_k = 3, .race = tq::race_mode::exact};
    tq::decoder raced{policy, q, options};
    options.race = tq::race_mode::exhaustive;
    tq::decoder exhaustive{policy, q, options};
    auto expected = exhaustive.generate(tq::token_list{0}, 4);
    auto it = expected.begin();
    for (const tq::step& step : raced.generate(tq::token_list{0}, 4)) {
        CHECK(step.token == it->token);
        CHECK(step.distribution.log_p == it->distribution.log_p);
        CHECK(step.kl == it->kl);
        ++it;
    }
}

TEST_CASE("race: tokens are drawn from the enumerated distribution") {
    // One step, exact Q: the last token of an answer, where every candidate is judged as it stands.
    const tree world{5, 1};
    const log_policy pi = random_policy(world, tq::random_key{3});
    const node_values rewards = random_rewards(world, tq::random_key{4});
    const log_policy target = tilted(world, pi, rewards, 0.4);
    tree_policy policy{world, pi}, baseline{world, pi};
    tq::direct_transfer q{baseline, ranged_reward{world, rewards}};
    std::vector<double> counts(5), expected(5);
    constexpr std::size_t trials = 20000;
    for (std::size_t seed = 0; seed < trials; ++seed) {
        tq::decoder decoder{
            policy, q, {.alpha = 0.4, .top_k = 5, .race = tq::race_mode::exact, .seed = seed}};
        for (const tq::step& step : decoder.generate(tq::token_list{0}, 1))
            counts[static_cast<std::size_t>(step.token)] += 1;
    }
    double chi2 = 0;
    for (std::size_t z = 0; z < 5; ++z) {
        expected[z] = trials * std::exp(target[world.child(0, z)]);
        chi2 += (counts[z] - expected[z]) * (counts[z] - expected[z]) / expected[z];
    }
    CHECK(chi2 < 18.47);  // 99.9 % point with 4 degrees of freedom
}

namespace {

/// One decision in a random world whose best candidate is clearly the best, by enumeration.
struct decision {
    tree world;
    log_policy pi, rho;
    node_values rewards;
    std::vector<double> scores;  // [candidates] exact
    std::size_t best = 0;
    double gap = 0;  // of the scores of the best two

    decision(std::uint64_t seed, double alpha, std::size_t candidates)
        : world{candidates, candidates > 8 ? 2U : 3U} {
        const tq::random_key key = tq::random_key{11}.fold_in(seed);
        pi = random_policy(world, key.fold_in(0), 0.5);
        rewards = random_rewards(world, key.fold_in(1));
        rho = aligned(world, pi, rewards, 0.2);
        const node_values q = expectation(world, rho, rewards);
        for (std::size_t z = 0; z < candidates; ++z)
            scores.push_back(pi[world.child(0, z)] + q[world.child(0, z)] / alpha);
        std::vector<double> sorted = scores;
        std::sort(sorted.rbegin(), sorted.rend());
        best = static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) -
                                        scores.begin());
        gap = sorted[0] - sorted[1];
    }

    /// The token that a race takes with up to `rollouts` sampled rollouts, and what it spent.
    [[nodiscard]] std::pair<std::size_t, std::size_t> race(tq::decode_options options,
                                                           std::size_t rollouts) const {
        tree_policy policy{world, pi}, baseline{world, rho};
        tq::direct_transfer q{baseline,
                              ranged_reward{world, rewards},
                              {.horizon = 3, .rollouts = rollouts, .sampling = {.temperature = 1}}};
        options.top_k = world.vocab_size();
        options.select = tq::selection::argmax;
        tq::decoder decoder{policy, q, options};
        const tq::step step = *decoder.generate(tq::token_list{0}, world.depth()).begin();
        std::size_t spent = 0;
        for (const std::size_t count : step.distribution.rollouts) spent += count;
        return {static_cast<std::size_t>(step.token), spent};
    }
};

}  // namespace

TEST_CASE("race: confident picks the enumerated best at the stated error, with fewer rollouts") {
    constexpr double alpha = 0.1;
    constexpr std::size_t rollouts = 256;
    std::size_t decisions = 0, wrong = 0, spent = 0;
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
        const decision d{seed, alpha, 4};
        if (d.gap < 0.8) continue;  // what 256 rollouts can tell apart
        ++decisions;
        const auto [token, cost] =
            d.race({.alpha = alpha, .race = tq::race_mode::confident, .race_error = 0.1}, rollouts);
        wrong += token != d.best;
        spent += cost;
    }
    REQUIRE(decisions > 40);
    INFO(wrong << " of " << decisions << " wrong, " << spent << " rollouts");
    const auto n = static_cast<double>(decisions);
    CHECK(static_cast<double>(wrong) <= 0.1 * n + 3 * std::sqrt(0.09 * n));
    CHECK(static_cast<double>(spent) < 0.5 * n * 4 * rollouts);
}

TEST_CASE("race: halving keeps to its budget and loses less score than an even split of it") {
    constexpr double alpha = 0.1;
    constexpr std::size_t candidates = 16, budget = 128, decisions = 400;
    double lost = 0, lost_even = 0;
    for (std::uint64_t seed = 0; seed < decisions; ++seed) {
        const decision d{seed, alpha, candidates};
        const auto [token, cost] =
            d.race({.alpha = alpha, .race = tq::race_mode::halving, .race_budget = budget}, budget);
        CHECK(cost <= budget);
        lost += d.scores[d.best] - d.scores[token];
        const std::size_t even = d.race({.alpha = alpha}, budget / candidates).first;
        lost_even += d.scores[d.best] - d.scores[even];
    }
    INFO(lost / decisions << " against " << lost_even / decisions << " of score lost per decision");
    CHECK(lost < lost_even);
}

TEST_CASE("race: options out of range are refused") {
    tq::decode_options options{.race_error = 0};
    CHECK_THROWS_AS(tq::check(options, "test"), tq::invalid_option);
    options = {.race_error = 1};
    CHECK_THROWS_AS(tq::check(options, "test"), tq::invalid_option);
    options = {.race_budget = 0};
    CHECK_THROWS_AS(tq::check(options, "test"), tq::invalid_option);
}
