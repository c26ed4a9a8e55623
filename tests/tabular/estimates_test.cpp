// The estimators of indirect and soft transfer against enumeration, on random worlds.

#include <tq/estimate/importance.hpp>
#include <tq/estimate/interval.hpp>
#include <tq/estimate/soft.hpp>
#include <tq/estimate/weights.hpp>
#include <tq/tabular/gap.hpp>
#include <tq/tabular/importance.hpp>
#include <tq/tabular/sample.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/weighted_worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::rollouts;
using tq::test::weighted_world;

namespace {

constexpr std::uint64_t many = 1000;
constexpr tq::weight_options raw{.guard = false, .on_collapse = tq::collapse_action::warn};

double squared(double x) { return x * x; }

}  // namespace

TEST_CASE(
    "indirect transfer: self-normalised weights converge to the enumerated Q as 1 / sqrt(n)") {
    // In units of the exact asymptotic standard deviation the mean square of the error is 1 at every n.
    double few = 0, more = 0, first = 0, second = 0;
    std::size_t worlds = 0;
    for (std::uint64_t number = 0; number < many; ++number) {
        const weighted_world w{number};
        const double q = w.exact_q(), variance = w.exact_variance();
        const rollouts all = w.draw(1024, number);
        const auto error = [&](std::size_t n) {
            return tq::importance_estimate(std::span{all.rewards}.first(n),
                                           std::span{all.log_weights}.first(n), raw)
                       .q -
                   q;
        };
        if (variance < 1e-12) {
            if (std::abs(error(64)) > 1e-9) FAIL("world " << number << " is without noise");
            continue;
        }
        ++worlds;
        few += 64 * squared(error(64)) / variance;
        more += 1024 * squared(error(1024)) / variance;
        first += squared(error(64));
        second += squared(error(1024));
    }
    const auto count = static_cast<double>(worlds);
    INFO(worlds << " worlds; mean square over n Var: " << few / count << ", " << more / count
                << "; ratio of errors " << std::sqrt(first / second));
    CHECK(worlds > 850);
    CHECK(close(few / count, 1, 0.2));
    CHECK(close(more / count, 1, 0.15));
    CHECK(
        close(std::sqrt(first / second), 4, 0.6));  // 16 times the rollouts, a quarter of the error
}

TEST_CASE("indirect transfer: the 95 % interval holds Q in 93 to 97 % of the worlds, k-hat < 0.5") {
    std::size_t held = 0, counted = 0;
    for (std::uint64_t number = 0; number < many; ++number) {
        const weighted_world w{number};
        const rollouts all = w.draw(1000, 7'000 + number);
        const auto estimate = tq::importance_estimate(all.rewards, all.log_weights, raw);
        if (!(estimate.weights->k_hat < 0.5) || w.exact_variance() < 1e-12) continue;
        const tq::mean_interval interval = tq::normal_interval(estimate);
        ++counted;
        held += interval.lo <= w.exact_q() && w.exact_q() <= interval.hi;
    }
    const double coverage = static_cast<double>(held) / static_cast<double>(counted);
    INFO(held << " of " << counted);
    CHECK(counted > many / 4);
    CHECK(coverage >= 0.93);
    CHECK(coverage <= 0.97);
}

TEST_CASE(
    "indirect transfer: implicit and explicit weights agree for an exactly aligned baseline") {
    for (std::uint64_t number = 0; number < 200; ++number) {
        const weighted_world w{number, 0.0};
        const node_values sft = log_reach(w.world.tree, w.world.sft);
        const node_values base = log_reach(w.world.tree, w.baseline);
        std::vector<double> rewards, implicit, other;
        for (std::uint64_t i = 0; i < 16; ++i) {
            const node_id leaf =
                draw_answer(w.world.tree, w.baseline, 0, tq::random_key{number}.fold_in(i));
            rewards.push_back(w.world.rewards[leaf]);
            implicit.push_back(
                tq::implicit_log_weight(sft[leaf], base[leaf], rewards.back(), w.world.beta));
            other.push_back(tq::explicit_log_weight(rewards.back(), w.base_rewards[leaf],
                                                    w.world.beta, w.world.beta));
        }
        const auto a = tq::importance_estimate(rewards, implicit, raw);
        const auto b = tq::importance_estimate(rewards, other, raw);
        if (!close(a.q, b.q, 1e-11) || !close(a.weights->ess, b.weights->ess, 1e-8))
            FAIL("world " << number);
    }
    SUCCEED();
}

TEST_CASE("indirect transfer: a mixture of baselines, the policy among them, finds the same Q") {
    // Two baselines and the policy in fixed shares; the first alone misses much of what r wants.
    const std::vector<double> shares{0.5, 0.25, 0.25};
    double mixed = 0, expected = 0;
    for (std::uint64_t number = 0; number < 300; ++number) {
        const weighted_world w{number};
        const tree& world = w.world.tree;
        const log_policy second = random_policy(world, tq::random_key{number}.fold_in(91), 1.0);
        const std::vector<const log_policy*> models{&w.baseline, &second, &w.world.sft};
        std::vector<node_values> reach;
        for (const log_policy* model : models) reach.push_back(log_reach(world, *model));
        std::vector<double> rewards, logs;
        for (std::uint64_t i = 0; i < 1024; ++i) {
            const std::size_t component = i % 4 < 2 ? 0 : i % 4 == 2 ? 1 : 2;
            const node_id leaf = draw_answer(world, *models[component], 0,
                                             tq::random_key{number}.fold_in(92).fold_in(i));
            const std::vector<double> own{reach[0][leaf], reach[1][leaf], reach[2][leaf]};
            rewards.push_back(w.world.rewards[leaf]);
            logs.push_back(tq::implicit_log_weight(reach[2][leaf],
                                                   tq::balance_log_probability(own, shares),
                                                   rewards.back(), w.world.beta));
        }
        const auto e = tq::importance_estimate(rewards, logs, raw);
        mixed += squared(e.q - w.exact_q());
        expected += squared(e.standard_error);
        const auto soft = tq::soft_estimate(logs, {.beta = w.world.beta, .weights = raw});
        if (!close(soft.q, w.exact_soft(), 6 * soft.standard_error + 1e-9))
            FAIL("soft value of world " << number);
    }
    INFO(mixed / expected);
    CHECK(mixed / expected > 0.5);  // fixed shares can only lessen the variance
    CHECK(mixed / expected < 1.3);
}

TEST_CASE("soft transfer: from the exact baseline it has no variance, whatever the rollouts") {
    for (std::uint64_t number = 0; number < many; ++number) {
        const weighted_world w{number};
        const tree& world = w.world.tree;
        const node_values logs =
            implicit_weights(world, w.world.sft, w.world.baseline, w.world.rewards, w.world.beta);
        for (const std::size_t n : {1U, 2U, 16U}) {
            std::vector<double> drawn;
            for (std::uint64_t i = 0; i < n; ++i)
                drawn.push_back(logs[draw_answer(world, w.world.baseline, 0,
                                                 tq::random_key{number}.fold_in(i))]);
            const auto e = tq::soft_estimate(drawn, {.beta = w.world.beta});
            if (!close(e.q, w.exact_soft(), 1e-11)) FAIL("world " << number);
            if (n > 1 && e.standard_error > 1e-11) FAIL("error of world " << number);
            if (e.weights->collapsed) FAIL("collapse in world " << number);
        }
    }
    SUCCEED();
}

TEST_CASE(
    "soft transfer: estimated Q at alpha = beta decodes the optimum, from the exact baseline") {
    double largest_soft = 0, smallest_hard = 0;
    std::size_t positive = 0;
    for (std::uint64_t number = 0; number < many; ++number) {
        const tq::test::small_world w = tq::test::random_world(number);
        const node_values logs = implicit_weights(w.tree, w.sft, w.baseline, w.rewards, w.beta);
        const node_values sft = log_reach(w.tree, w.sft), base = log_reach(w.tree, w.baseline);
        node_values q(w.tree.size());
        for (node_id u = 1; u < w.tree.size(); ++u) {
            std::vector<double> drawn;
            for (std::uint64_t i = 0; i < 2; ++i)
                drawn.push_back(logs[draw_answer(w.tree, w.baseline, u,
                                                 tq::random_key{number}.fold_in(u).fold_in(i))] -
                                sft[u] + base[u]);
            q[u] = tq::soft_estimate(drawn, {.beta = w.beta}).q;
        }
        const log_policy soft = tilted(w.tree, w.sft, q, w.beta);
        const log_policy hard =
            tilted(w.tree, w.sft, expectation(w.tree, w.baseline, w.rewards), w.beta);
        largest_soft =
            std::max(largest_soft, regularised_gap(w.tree, w.sft, soft, w.rewards, w.beta));
        const double gap = regularised_gap(w.tree, w.sft, hard, w.rewards, w.beta);
        smallest_hard = std::min(smallest_hard, gap);
        positive += gap > 1e-9;
    }
    CHECK(largest_soft < 1e-6);
    CHECK(smallest_hard > -1e-11);
    CHECK(positive > many / 2);
}

TEST_CASE(
    "soft transfer: from an imperfect baseline the 95 % interval holds the enumerated value") {
    std::size_t held = 0, counted = 0;
    for (std::uint64_t number = 0; number < many; ++number) {
        const weighted_world w{number};
        const rollouts all = w.draw(1000, 9'000 + number);
        const auto e = tq::soft_estimate(all.log_weights,
                                         {.beta = w.world.beta, .jackknife = true, .weights = raw});
        if (!(e.weights->k_hat < 0.5)) continue;
        const tq::mean_interval interval = tq::normal_interval(e);
        ++counted;
        held += interval.lo <= w.exact_soft() && w.exact_soft() <= interval.hi;
    }
    const double coverage = static_cast<double>(held) / static_cast<double>(counted);
    INFO(held << " of " << counted);
    CHECK(counted > many / 4);
    CHECK(coverage >= 0.93);
    CHECK(coverage <= 0.97);
}

TEST_CASE("collapse: a baseline of disjoint support is noticed, whatever is asked, and never NaN") {
    // The baseline writes answers that the policy cannot; the policy's own never come up.
    const tree world{2, 3};
    log_policy sft(world.size()), baseline(world.size());
    for (node_id node = 1; node < world.size(); ++node) {
        const bool left = node == world.child(world.parent(node), 0);
        sft[node] = left ? 0 : -HUGE_VAL;
        baseline[node] = left ? -HUGE_VAL : 0;
    }
    const node_values reach = log_reach(world, sft), base = log_reach(world, baseline);
    for (const tq::collapse_action action :
         {tq::collapse_action::warn, tq::collapse_action::widen, tq::collapse_action::unweighted,
          tq::collapse_action::refuse}) {
        std::vector<double> rewards, logs;
        for (std::uint64_t i = 0; i < 32; ++i) {
            const node_id leaf = draw_answer(world, baseline, 0, tq::random_key{i});
            rewards.push_back(0.25);
            logs.push_back(tq::implicit_log_weight(reach[leaf], base[leaf], 0.25, 0.1));
        }
        const auto e = tq::importance_estimate(rewards, logs, {.on_collapse = action});
        CHECK(e.weights->collapsed);
        CHECK(e.weights->refused == (action == tq::collapse_action::refuse));
        CHECK(e.q == (action == tq::collapse_action::refuse ? -HUGE_VAL : 0.25));
        const auto soft =
            tq::soft_estimate(logs, {.beta = 0.1, .weights = {.on_collapse = action}});
        CHECK(soft.weights->collapsed);
        CHECK(soft.q == -HUGE_VAL);
    }
}

TEST_CASE(
    "collapse: what a baseline never visits no diagnostic sees, but a share of the policy does") {
    std::size_t blind = 0, alone = 0, defended = 0, worlds = 0;
    for (std::uint64_t number = 0; number < 300; ++number) {
        const weighted_world w{number, 6.0};  // a baseline that is noise
        if (w.exact_ess_share() > 0.01) continue;
        ++worlds;
        const auto far = [&](const tq::value_estimate& e) {
            REQUIRE_FALSE(std::isnan(e.q));
            REQUIRE_FALSE(std::isnan(e.standard_error));
            return std::abs(e.q - w.exact_q()) > 4 * e.standard_error;
        };
        const rollouts all = w.draw(256, number);
        const auto e = tq::importance_estimate(all.rewards, all.log_weights);
        alone += far(e);
        blind += far(e) && !e.weights->collapsed;

        const tree& world = w.world.tree;
        const node_values sft = log_reach(world, w.world.sft), base = log_reach(world, w.baseline);
        const std::vector<double> shares{0.75, 0.25};
        std::vector<double> rewards, logs;
        for (std::uint64_t i = 0; i < 256; ++i) {
            const log_policy& model = i % 4 == 0 ? w.world.sft : w.baseline;
            const node_id leaf =
                draw_answer(world, model, 0, tq::random_key{number}.fold_in(93).fold_in(i));
            const std::vector<double> own{base[leaf], sft[leaf]};
            rewards.push_back(w.world.rewards[leaf]);
            logs.push_back(tq::implicit_log_weight(
                sft[leaf], tq::balance_log_probability(own, shares), rewards.back(), w.world.beta));
        }
        defended += far(tq::importance_estimate(rewards, logs, raw));
    }
    INFO(worlds << " worlds: " << alone << " far off, " << blind << " of them unnoticed; "
                << defended << " with a quarter of the policy");
    CHECK(worlds > 100);
    CHECK(alone > worlds / 4);
    CHECK(blind > 0);
    CHECK(defended < alone / 5);
}
