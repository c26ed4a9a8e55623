// What must hold whatever the options, the world and the extremes.

#include <tq/decode/block_decoder.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/estimate/interval.hpp>
#include <tq/tabular/tabular.hpp>
#include <tq/transfer/direct.hpp>
#include <tq/transfer/indirect.hpp>
#include <tq/transfer/soft.hpp>

#include <cmath>
#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/worlds.hpp"

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// One of some values, by a random number.
template <class T, std::size_t N>
T pick(const T (&values)[N], std::uint64_t bits) {
    return values[bits % N];
}

/// What is wrong with a step; empty = nothing.
std::string fault_of(const tq::step& step) {
    const tq::tilted_distribution& d = step.distribution;
    if (d.size() == 0) return "no candidates";
    if (step.choice >= d.size() || d.tokens[step.choice] != step.token) return "choice";
    double sum = 0;
    for (std::size_t i = 0; i < d.size(); ++i) {
        if (std::isnan(d.q[i]) && step.race.mode == tq::race_mode::exhaustive) return "Q is NaN";
        if (!(d.log_prior[i] <= 1e-6))  // the float kernel may be that far off
            return "prior " + std::to_string(d.log_prior[i]);
        if (d.q_error[i] < 0) return "negative error";
        sum += std::exp(d.log_p[i]);
    }
    if (step.race.mode != tq::race_mode::exhaustive) {
        // A race that stopped early leaves the distribution open, and says so by NaN alone.
        return std::isnan(d.kl) || d.kl >= 0 ? "" : "negative KL";
    }
    if (!(std::abs(sum - 1) < 1e-9)) return "log_p does not sum to one: " + std::to_string(sum);
    if (!(d.kl >= 0)) return "KL = " + std::to_string(d.kl);
    return "";
}

/// Decodes with options drawn from `key`; returns what is wrong.
template <class Value>
std::string decode_fault(tq::tabular::tree_policy& policy, Value& value, tq::random_key key,
                         std::size_t depth) {
    const tq::decode_options options{
        .alpha = pick({1e-6, 1e-3, 0.1, 1.0, 30.0, 1e9, inf}, key.bits(0)),
        .top_k = pick<std::size_t>({1, 2, 3, tq::whole_vocabulary}, key.bits(1)),
        .temperature = pick({0.3, 1.0, 2.0}, key.bits(2)),
        .select = pick({tq::selection::sample, tq::selection::argmax}, key.bits(3)),
        .race = pick({tq::race_mode::exhaustive, tq::race_mode::exhaustive, tq::race_mode::exact,
                      tq::race_mode::confident},
                     key.bits(4)),
        .seed = key.bits(5)};
    if (!tq::piecewise_value<Value> && options.race == tq::race_mode::confident) return "";
    tq::decoder decode{policy, value, options};
    auto stream = decode.generate(tq::token_list{0}, depth);
    for (const tq::step& step : stream)
        if (const std::string fault = fault_of(step); !fault.empty()) return fault;
    if (stream.kl() < 0) return "negative KL of the answer";
    return "";
}

}  // namespace

TEST_CASE("properties: whatever the world and the options, distributions are distributions") {
    for (std::uint64_t number = 0; number < 300; ++number) {
        const tq::test::small_world world = tq::test::random_world(number);
        const tq::random_key key = tq::random_key{77}.fold_in(number);
        // Rewards up to 1e30 in size.
        const double scale = pick({1.0, 1e-30, 1e6, 1e30, -1e30}, key.bits(10));
        tq::tabular::node_values rewards = world.rewards;
        for (double& r : rewards) r *= scale;
        tq::tabular::tree_policy policy{world.tree, world.sft},
            baseline{world.tree, world.baseline};
        tq::tabular::tree_reward judge{world.tree, rewards};
        const bool greedy = key.bits(11) % 3 == 0;
        const tq::rollout_options look{
            .horizon = world.tree.depth(),
            .rollouts = greedy ? 1 : pick<std::size_t>({1, 2, 5, 33}, key.bits(12)),
            .sampling = {.temperature = greedy ? 0.0 : 1.0},
            .in_flight = pick<std::size_t>({0, 1, 3}, key.bits(13))};
        INFO("world " << number << ", scale " << scale);
        std::string fault;
        switch (greedy ? 0 : key.bits(14) % 3) {
            case 0: {
                tq::bounded ranged{judge, {-std::abs(scale), std::abs(scale)}};
                tq::direct_transfer value{baseline, ranged, look};
                fault = decode_fault(policy, value, key, world.tree.depth());
                break;
            }
            case 1: {
                tq::indirect_transfer value{
                    baseline, judge, tq::implicit_weights{policy, {.beta = std::abs(scale)}}, look};
                fault = decode_fault(policy, value, key, world.tree.depth());
                break;
            }
            default: {
                tq::soft_transfer value{
                    baseline, judge, tq::implicit_weights{policy, {.beta = std::abs(scale)}}, look};
                fault = decode_fault(policy, value, key, world.tree.depth());
            }
        }
        CHECK(fault == "");
    }
}

TEST_CASE("properties: a vocabulary of one token, and logits that forbid all but one") {
    tq::tabular::bigram_model one{{{0.0F}}};
    const float no = -std::numeric_limits<float>::infinity();
    tq::tabular::bigram_model forced{{{no, no, 0}, {no, 3, no}, {-1e30F, no, no}}};
    auto judge = [](tq::token_view, tq::token_view answer) {
        return answer.empty() ? 0.0 : static_cast<double>(answer.back()) * 1e30;
    };
    for (const double alpha : {1e-6, 1.0, 1e9, inf})
        for (const tq::selection select : {tq::selection::sample, tq::selection::argmax})
            for (const std::size_t k : {std::size_t{1}, std::size_t{8}, tq::whole_vocabulary}) {
                tq::direct_transfer q{one, judge, {.horizon = 0}};
                tq::decoder decode{one,
                                   q,
                                   {.alpha = alpha,
                                    .top_k = k,
                                    .select = select,
                                    .race = tq::race_mode::exhaustive}};
                for (const tq::step& step : decode.generate(tq::token_list{0}, 3)) {
                    CHECK(step.token == 0);
                    CHECK(fault_of(step).empty());
                    CHECK(step.distribution.log_p[0] == 0);
                }
                tq::direct_transfer forced_q{forced, judge, {.horizon = 2}};
                tq::decoder follow{
                    forced, forced_q, {.alpha = alpha, .top_k = k, .select = select}};
                tq::token_list answer;
                for (const tq::step& step : follow.generate(tq::token_list{0}, 4)) {
                    CHECK(fault_of(step).empty());
                    answer.push_back(step.token);
                }
                CHECK(answer == tq::token_list{2, 0, 2, 0});
            }
}

TEST_CASE("properties: confidence intervals hold the truth at least as often as they say") {
    // 2,000 times 20 rewards of a skewed two-point reward: the mean is 0.1.
    std::size_t missed = 0;
    constexpr std::size_t trials = 2000;
    for (std::uint64_t t = 0; t < trials; ++t) {
        const tq::random_key key = tq::random_key{5}.fold_in(t);
        std::vector<double> rewards(20);
        for (std::size_t i = 0; i < rewards.size(); ++i)
            rewards[i] = key.uniform(i) < 0.1 ? 1.0 : 0.0;
        const tq::mean_interval interval = tq::betting_interval(rewards, {0, 1}, 0.1);
        missed += interval.lo > 0.1 || interval.hi < 0.1;
    }
    // Binomial: 0.1 + 4 standard errors.
    CHECK(static_cast<double>(missed) / trials < 0.1 + 4 * std::sqrt(0.09 / trials));
}
