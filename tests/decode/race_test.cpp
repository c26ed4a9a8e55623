#include <tq/decode/decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>

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
