// What the noise of rollouts does to the estimates, against enumeration.

#include <tq/decode/decoder.hpp>
#include <tq/tabular/enumerate.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"
#include "support/statistics.hpp"

using namespace tq::tabular;
using tq::rollout_noise;

namespace {

struct moments {
    double sum = 0, squares = 0, count = 0;
    void add(double x) {
        sum += x;
        squares += x * x;
        ++count;
    }
    [[nodiscard]] double mean() const { return sum / count; }
    [[nodiscard]] double variance() const { return squares / count - mean() * mean(); }
    [[nodiscard]] double error() const { return std::sqrt(variance() / count); }
};

/// Q of the tokens 0 ... n - 1 at the prompt, by `value`, with the keys of a seed.
template <class Value>
std::vector<double> q_of(Value& value, std::size_t n, std::size_t length, std::uint64_t seed) {
    const tq::token_list prompt{0};
    tq::token_list candidates(n);
    for (std::size_t z = 0; z < n; ++z) candidates[z] = static_cast<tq::token_id>(z);
    const tq::random_key answer{seed};
    std::vector<tq::value_estimate> values(n);
    const tq::value_query query{{.sequence = prompt,
                                 .prompt_size = 1,
                                 .tokens_left = length,
                                 .end_tokens = {},
                                 .key = answer.fold_in(0),
                                 .answer_key = answer},
                                candidates,
                                values};
    value.evaluate({&query, 1});
    std::vector<double> q;
    for (const tq::value_estimate& estimate : values) q.push_back(estimate.q);
    return q;
}

}  // namespace

TEST_CASE("noise: every kind is an unbiased estimate of the enumerated Q in a given state") {
    const auto noise =
        GENERATE(rollout_noise::independent, rollout_noise::coupled, rollout_noise::scenario);
    const tree world{3, 4};
    const tq::random_key key{31};
    const log_policy rho = random_policy(world, key.fold_in(0), 1.0);
    const node_values rewards = random_rewards(world, key.fold_in(1));
    const node_values exact = expectation(world, rho, rewards);
    tree_policy baseline{world, rho};
    tq::direct_transfer q{baseline,
                          tree_reward{world, rewards},
                          {.horizon = 4,
                           .rollouts = 2,
                           .sampling = {.temperature = 1},
                           .noise = noise,
                           .reuse = false}};
    std::vector<moments> estimates(3);
    for (std::uint64_t seed = 0; seed < 4000; ++seed) {
        const std::vector<double> values = q_of(q, 3, 4, seed);
        for (std::size_t z = 0; z < 3; ++z) estimates[z].add(values[z]);
    }
    for (std::size_t z = 0; z < 3; ++z) {
        const double expected = exact[world.child(tree::root(), z)];
        INFO("token " << z << ": " << estimates[z].mean() << " for " << expected);
        CHECK(std::abs(estimates[z].mean() - expected) < 4 * estimates[z].error());
        CHECK(estimates[z].error() < 0.01);
    }
}

TEST_CASE("noise: coupled rollouts make differences of Q less noisy, not Q itself") {
    // A bigram world forgets: after the candidate, futures go the same way when their noise is equal.
    tq::tabular::bigram_model model = tq::test::random_bigram(8, 5);
    const auto difference = [&](rollout_noise noise) {
        tq::direct_transfer q{
            model,
            tq::test::even_reward{},
            {.horizon = 12, .rollouts = 4, .sampling = {.temperature = 1}, .noise = noise}};
        std::pair<moments, moments> result;
        for (std::uint64_t seed = 0; seed < 1000; ++seed) {
            const std::vector<double> values = q_of(q, 2, 13, seed);
            result.first.add(values[0] - values[1]);
            result.second.add(values[0]);
        }
        return result;
    };
    const auto [independent, q] = difference(rollout_noise::independent);
    const auto [coupled, coupled_q] = difference(rollout_noise::coupled);
    INFO("variance " << coupled.variance() << " against " << independent.variance());
    CHECK(coupled.variance() < 0.6 * independent.variance());
    CHECK(std::abs(coupled.mean() - independent.mean()) <
          4 * std::hypot(coupled.error(), independent.error()));
    CHECK(coupled_q.variance() == Catch::Approx(q.variance()).epsilon(0.2));
}

namespace {

/// Decodes many worlds and compares Q of the chosen tokens of the second step with enumeration.
moments optimism(rollout_noise noise, bool reuse, std::vector<tq::token_list>* answers = nullptr,
                 std::size_t* spent = nullptr) {
    moments result;
    for (std::uint64_t seed = 0; seed < 1500; ++seed) {
        const tree world{3, 4};
        const tq::random_key key = tq::random_key{77}.fold_in(seed);
        const log_policy rho = random_policy(world, key.fold_in(0), 0.7);
        const node_values rewards = random_rewards(world, key.fold_in(1));
        const node_values exact = expectation(world, rho, rewards);
        tree_policy policy{world, rho};
        tq::direct_transfer q{policy,
                              tree_reward{world, rewards},
                              {.horizon = 4,
                               .rollouts = 4,
                               .sampling = {.temperature = 1},
                               .noise = noise,
                               .reuse = reuse}};
        tq::decoder decoder{
            policy, q, {.alpha = 0.02, .top_k = 3, .select = tq::selection::argmax, .seed = seed}};
        node_id state = tree::root();
        tq::token_list answer;
        for (const tq::step& step : decoder.generate(tq::token_list{0}, 4)) {
            if (step.position == 1)  // all candidates: no selection at this step
                for (std::size_t i = 0; i < step.distribution.size(); ++i) {
                    const auto z = static_cast<std::size_t>(step.distribution.tokens[i]);
                    result.add(step.distribution.q[i] - exact[world.child(state, z)]);
                }
            state = world.child(state, static_cast<std::size_t>(step.token));
            answer.push_back(step.token);
            if (spent != nullptr) *spent += step.spent.total();
        }
        if (answers != nullptr) answers->push_back(answer);
    }
    return result;
}

}  // namespace

TEST_CASE(
    "noise: fresh rollouts stay unbiased after a choice; those of a scenario turn optimistic") {
    const moments fresh = optimism(rollout_noise::independent, true);
    const moments coupled = optimism(rollout_noise::coupled, true);
    const moments scenario = optimism(rollout_noise::scenario, true);
    INFO("bias " << fresh.mean() << ", coupled " << coupled.mean() << ", scenario "
                 << scenario.mean() << " +- " << scenario.error());
    // The three candidates of a world hang together: their errors are taken as one.
    const double limit = 4 * std::sqrt(3.0);
    CHECK(std::abs(fresh.mean()) < limit * fresh.error());
    CHECK(std::abs(coupled.mean()) < limit * coupled.error());
    CHECK(scenario.mean() > limit * scenario.error());
}

TEST_CASE("noise: in scenarios, reuse changes no token and saves model tokens") {
    std::vector<tq::token_list> with, without;
    std::size_t spent_with = 0, spent_without = 0;
    const moments a = optimism(rollout_noise::scenario, true, &with, &spent_with);
    const moments b = optimism(rollout_noise::scenario, false, &without, &spent_without);
    CHECK(with == without);
    CHECK(a.mean() == b.mean());
    CHECK(static_cast<double>(spent_with) < 0.9 * static_cast<double>(spent_without));
}

TEST_CASE("noise: what cannot be had is refused") {
    tq::tabular::bigram_model model = tq::test::random_bigram(4, 1);
    CHECK_THROWS_AS((tq::direct_transfer{model,
                                         tq::test::even_reward{},
                                         {.sampling = {.temperature = 1, .top_p = 0.9},
                                          .noise = rollout_noise::coupled}}),
                    tq::invalid_option);
    struct completes {
        std::vector<tq::trajectory> complete(std::span<const tq::rollout_request>,
                                             tq::sampling_rule) {
            return {};
        }
    };
    CHECK_THROWS_AS((tq::direct_transfer{
                        completes{}, tq::test::even_reward{}, {.noise = rollout_noise::scenario}}),
                    tq::invalid_option);
}
