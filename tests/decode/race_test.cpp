#include <tq/decode/decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "support/answers.hpp"
#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"
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
    out.answers = tq::test::answers_of(answers);
    for (std::size_t i = 0; i < prompts.size(); ++i) out.kl += answers.kl(i);
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

namespace {

struct bigram_result {
    std::vector<tq::token_list> answers;
    std::size_t candidates = 0, spent = 0, over_top_k = 0;
};

bigram_result decode_bigram(const tq::decode_options& options, std::size_t vocabulary) {
    const tq::token_list ends{1};
    tq::tabular::bigram_model model = tq::test::random_bigram(vocabulary, 8, ends, 4.0);
    tq::direct_transfer q{model, tq::test::even_reward{}, {.horizon = 6}};
    tq::decoder decoder{model, q, options};
    std::vector<tq::token_list> prompts;
    for (tq::token_id i = 0; i < 12; ++i) prompts.push_back({i});
    auto answers = decoder.generate_all(prompts, 8);
    bigram_result result;
    for (auto steps = answers.advance(); !steps.empty(); steps = answers.advance())
        for (const tq::step& step : steps) {
            result.candidates += step.distribution.size();
            // candidates come in order of their prior; where is the chosen one in the vocabulary?
            result.over_top_k += step.distribution.log_pi[step.choice] < -4;
        }
    result.answers = tq::test::answers_of(answers);
    result.spent = answers.spent().total();
    return result;
}

}  // namespace

TEST_CASE("race: over the whole vocabulary it gives what exhaustive gives there") {
    const auto select = GENERATE(tq::selection::sample, tq::selection::argmax);
    tq::decode_options options{.alpha = 0.3,
                               .top_k = tq::whole_vocabulary,
                               .select = select,
                               .race = tq::race_mode::exhaustive};
    const bigram_result exhaustive = decode_bigram(options, 64);
    options.race = tq::race_mode::exact;
    const bigram_result raced = decode_bigram(options, 64);
    CHECK(raced.answers == exhaustive.answers);
    CHECK(static_cast<double>(raced.spent) < 0.4 * static_cast<double>(exhaustive.spent));
    CHECK(raced.candidates < exhaustive.candidates / 2);
}

TEST_CASE("race: widened, it is over the whole vocabulary when few can win, else over draws") {
    tq::decode_options options{.alpha = 0.3, .top_k = 8, .race = tq::race_mode::exact};
    const bigram_result narrow = decode_bigram(options, 64);
    options.widen = true;
    const bigram_result wide = decode_bigram(options, 64);
    CHECK(wide.answers != narrow.answers);
    CHECK(wide.over_top_k > narrow.over_top_k);  // tails that top_k cuts off are drawn again
    options.top_k = tq::whole_vocabulary;
    options.alpha = 4;  // so weak a tilt that never more than 8 can win
    const bigram_result whole = decode_bigram(options, 64);
    options.top_k = 8;
    CHECK(decode_bigram(options, 64).answers == whole.answers);
    options.select = tq::selection::argmax;  // no noise: the largest priors are the likeliest
    options.alpha = 1e-3;                    // so strong that nearly all can win
    options.widen = false;
    const bigram_result cut = decode_bigram(options, 64);
    options.widen = true;
    CHECK(decode_bigram(options, 64).answers == cut.answers);
}

TEST_CASE("race: widened and cut, its law is that of two draws without replacement") {
    // The two largest log p + g are an ordered draw (i, j) without replacement. The second one wins
    // if Q_j - Q_i = alpha d > 0 makes up for their distance: probability
    // 1 - 1 / (1 + (1 - p_i)(exp d - 1)).
    const std::vector<double> q{0.1, 0.9, 0.5, 1.0, 0.0};
    const std::vector<float> logits{1.5F, 0.3F, 0.9F, -1.0F, 0.0F};
    constexpr double alpha = 0.2;
    constexpr std::size_t tokens = 5, draws = 100'000;
    double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<double>(logit));
    std::vector<double> p, law(tokens);
    for (const float logit : logits) p.push_back(std::exp(static_cast<double>(logit)) / total);
    for (std::size_t i = 0; i < tokens; ++i)
        for (std::size_t j = 0; j < tokens; ++j) {
            if (i == j) continue;
            const double pair = p[i] * p[j] / (1 - p[i]), d = (q[j] - q[i]) / alpha;
            const double second = d <= 0 ? 0 : 1 - 1 / (1 + (1 - p[i]) * std::expm1(d));
            law[i] += pair * (1 - second);
            law[j] += pair * second;
        }
    tq::test::constant_policy policy{logits};
    struct known_reward {
        const std::vector<double>& q;
        double operator()(tq::token_view, tq::token_view answer) const {
            return q[static_cast<std::size_t>(answer.back())];
        }
        [[nodiscard]] static tq::reward_range range() { return {0, 1}; }
    };
    tq::direct_transfer value{policy, known_reward{q}};
    tq::decoder decoder{policy, value, {.alpha = alpha, .top_k = 2, .widen = true}};
    const std::vector<tq::token_list> prompts(draws, tq::token_list{0});
    auto answers = decoder.generate_all(prompts, 1);
    while (!answers.advance().empty()) {
    }
    std::vector<double> seen(tokens);
    for (std::size_t i = 0; i < draws; ++i)
        ++seen[static_cast<std::size_t>(answers.answer(i).front())];
    double chi_square = 0;
    for (std::size_t z = 0; z < tokens; ++z)
        chi_square += (seen[z] - draws * law[z]) * (seen[z] - draws * law[z]) / (draws * law[z]);
    CHECK(chi_square < 18.47);  // 99.9 % point with 4 degrees of freedom
}

TEST_CASE("race: rollouts that cannot matter any more are given up") {
    /// The value without its telling how it goes.
    struct silent {
        using value_type = tq::direct_transfer<tree_policy&, ranged_reward>;
        value_type value;
        void evaluate(std::span<const tq::value_query> queries) { value.evaluate(queries); }
        [[nodiscard]] std::size_t rollouts(const tq::decode_state& s, tq::token_id z) {
            return value.rollouts(s, z);
        }
        [[nodiscard]] std::size_t cost(const tq::decode_state& s) { return value.cost(s); }
        void sample(std::span<tq::rollout_query> queries, const tq::rollout_progress&) {
            value.sample(queries);
        }
        [[nodiscard]] tq::value_estimate combine(const tq::decode_state& s, tq::token_id z,
                                                 std::span<const double> rewards) {
            return value.combine(s, z, rewards);
        }
        [[nodiscard]] tq::reward_range range() { return value.range(); }
    };
    static_assert(tq::piecewise_value<silent>);
    std::size_t told = 0, untold = 0;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        const tree world{4, 5, 3};
        const tq::random_key key = tq::random_key{5}.fold_in(seed);
        const log_policy pi = random_policy(world, key.fold_in(0), 1.5);
        tree_policy policy{world, pi};
        const tq::rollout_options rollouts{
            .horizon = 5, .rollouts = 4, .sampling = {.temperature = 1}};
        const ranged_reward reward{world, random_rewards(world, key.fold_in(1))};
        silent::value_type streaming{policy, ranged_reward{reward}, rollouts};
        silent quiet{{policy, ranged_reward{reward}, rollouts}};
        tq::decode_options options{
            .alpha = 0.3, .top_k = 4, .race = tq::race_mode::exact, .seed = seed};
        const tq::token_list prompt{0};
        tq::decoder a{policy, streaming, options};
        tq::decoder b{policy, quiet, options};
        auto expected = b.generate(prompt, 5);
        auto it = expected.begin();
        for (const tq::step& step : a.generate(prompt, 5)) {
            CHECK(step.token == it->token);
            told += step.spent.total();
            untold += it->spent.total();
            ++it;
        }
    }
    INFO(told << " model tokens against " << untold);
    CHECK(told < untold);
}

TEST_CASE("race: a reward that is NaN is an error, not an endless race") {
    struct broken {
        void evaluate(std::span<const tq::value_query>) {}
        [[nodiscard]] std::size_t rollouts(const tq::decode_state&, tq::token_id) { return 1; }
        [[nodiscard]] std::size_t cost(const tq::decode_state&) { return 1; }
        void sample(std::span<tq::rollout_query> queries, const tq::rollout_progress&) {
            for (const tq::rollout_query& query : queries) query.rewards[0] = std::nan("");
        }
        [[nodiscard]] tq::value_estimate combine(const tq::decode_state&, tq::token_id,
                                                 std::span<const double> rewards) {
            return tq::mean_estimate(rewards);
        }
        [[nodiscard]] tq::reward_range range() { return {0, 1}; }
    };
    tq::decoder decoder{tq::test::random_bigram(4, 1), broken{}, {.race = tq::race_mode::exact}};
    CHECK_THROWS_AS(*decoder.generate(tq::token_list{0}, 3).begin(), tq::backend_error);
}

TEST_CASE("race: options out of range are refused") {
    tq::decode_options options{.race_error = 0};
    CHECK_THROWS_AS(tq::validate(options, "test"), tq::invalid_option);
    options = {.race_error = 1};
    CHECK_THROWS_AS(tq::validate(options, "test"), tq::invalid_option);
}
