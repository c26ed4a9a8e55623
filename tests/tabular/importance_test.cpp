// The exact values of importance sampling against sums over whole answers, and draws.

#include <tq/tabular/importance.hpp>
#include <tq/tabular/sample.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::for_worlds;
using tq::test::small_world;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// E[f | node] by summing over the answers below it.
template <class Function>
double sum_below(const tree& world, const log_policy& pi, node_id from, Function f) {
    const node_values reach = log_reach(world, pi);
    double sum = 0;
    for (node_id leaf = 0; leaf < world.size(); ++leaf) {
        if (!world.is_leaf(leaf)) continue;
        node_id node = leaf;
        while (node > from) node = world.parent(node);
        if (node == from) sum += std::exp(reach[leaf] - reach[from]) * f(leaf);
    }
    return sum;
}

}  // namespace

TEST_CASE("importance: exact values are those of sums over answers") {
    for_worlds(60, [](const small_world& w, std::uint64_t number) {
        if (w.tree.size() > 400) return;
        const tq::random_key key = tq::random_key{83}.fold_in(number);
        const log_policy pi = random_policy(w.tree, key, 1.0);
        node_values logs(w.tree.size());
        for (node_id node = 0; node < w.tree.size(); ++node)
            logs[node] = key.uniform(3 * node) < 0.2 ? -inf : 3 * key.uniform(3 * node + 1);
        const node_values mass = log_mean_weight(w.tree, pi, logs);
        const node_values q = importance_value(w.tree, pi, logs, w.rewards);
        const node_values share = ess_share(w.tree, pi, logs);
        const node_values variance = importance_variance(w.tree, pi, logs, w.rewards);
        for (node_id node = 0; node < w.tree.size(); ++node) {
            const auto mean = [&](auto f) { return sum_below(w.tree, pi, node, f); };
            const auto weight = [&](node_id leaf) { return std::exp(logs[leaf]); };
            const double first = mean(weight);
            if (first == 0) {
                CHECK(mass[node] == -inf);
                CHECK(q[node] == (w.tree.is_leaf(node) ? w.rewards[node] : -inf));
                CHECK(share[node] == 0);
                continue;
            }
            const double second = mean([&](node_id leaf) { return weight(leaf) * weight(leaf); });
            const double value =
                mean([&](node_id leaf) { return weight(leaf) * w.rewards[leaf]; }) / first;
            const double spread = mean([&](node_id leaf) {
                const double part = weight(leaf) * (w.rewards[leaf] - value);
                return part * part;
            });
            if (!close(mass[node], std::log(first), 1e-11) || !close(q[node], value, 1e-11) ||
                !close(share[node], first * first / second, 1e-11) ||
                !close(variance[node], spread / first / first, 1e-10))
                FAIL("world " << number << ", node " << node);
        }
    });
    SUCCEED();
}

TEST_CASE(
    "importance: the policy of a baseline prior is the optimum, and the baseline if r = r_BL") {
    // pi*(z|s) ∝ rho_BL(z|s) E_BL[exp((r - r_BL) / beta) | s, z]
    for_worlds(1000, [](const small_world& w, std::uint64_t number) {
        const node_values other = random_rewards(w.tree, tq::random_key{84}.fold_in(number));
        const log_policy baseline = aligned(w.tree, w.sft, other, w.beta);
        node_values logs(w.tree.size());
        for (node_id node = 0; node < w.tree.size(); ++node)
            logs[node] = (w.rewards[node] - other[node]) / w.beta;
        const log_policy optimum =
            tilted(w.tree, baseline, log_mean_weight(w.tree, baseline, logs), 1.0);
        const node_values none(w.tree.size());
        const log_policy same =
            tilted(w.tree, baseline, log_mean_weight(w.tree, baseline, none), 1.0);
        if (tq::test::largest_difference(optimum, w.baseline) > 1e-10 * (1 + 1 / w.beta))
            FAIL("world " << number << ", optimum");
        if (tq::test::largest_difference(same, baseline) > 1e-12) FAIL("world " << number);
    });
    SUCCEED();
}

TEST_CASE("draw_answer: answers come as often as their probability") {
    const small_world w = tq::test::random_world(8);
    const node_values reach = log_reach(w.tree, w.sft);
    std::vector<std::size_t> counts(w.tree.size());
    std::vector<double> probabilities(w.tree.size());
    for (node_id node = 0; node < w.tree.size(); ++node)
        if (w.tree.is_leaf(node)) probabilities[node] = std::exp(reach[node]);
    for (std::uint64_t i = 0; i < 20'000; ++i)
        ++counts[draw_answer(w.tree, w.sft, tree::root(), tq::random_key{85}.fold_in(i))];
    const auto result = tq::test::chi_square(counts, probabilities);
    INFO(result.statistic << " of " << result.degrees);
    CHECK(result.degrees > 5);
    CHECK(result.plausible());
}

TEST_CASE("draw_answer: starts where it is told, and takes what a policy allows") {
    const tree world{3, 2};
    const log_policy best = greedy(world, node_values(world.size()));
    CHECK(draw_answer(world, best, world.child(0, 2), tq::random_key{1}) ==
          world.child(world.child(0, 2), 0));
    const node_id leaf = world.child(world.child(0, 1), 1);
    CHECK(draw_answer(world, best, leaf, tq::random_key{1}) == leaf);
}
