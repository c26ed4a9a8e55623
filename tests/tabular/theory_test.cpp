// What the theory of arXiv 2405.20495 says about one Q, on a thousand random worlds.

#include <tq/tabular/enumerate.hpp>

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::for_worlds;
using tq::test::largest_difference;
using tq::test::small_world;

namespace {

constexpr std::uint64_t many = 1000;

/// TQ*: the value of the exact baseline.
node_values direct_q(const small_world& w) { return expectation(w.tree, w.baseline, w.rewards); }

/// KL(p(tau | node) || q(tau | node)) of everything that follows a node.
node_values kl_below(const tree& world, const log_policy& p, const log_policy& q) {
    return backward(world, node_values(world.size()), [&](node_id node, const node_values& values) {
        double sum = state_kl(world, p, q, node);
        for (std::size_t z = 0; z < world.vocab_size(); ++z)
            sum += std::exp(p[world.child(node, z)]) * values[world.child(node, z)];
        return sum;
    });
}

/// Calls check(node) for every state in which a token is chosen.
template <class Check>
void for_states(const tree& world, Check check) {
    for (node_id node = 0; node < world.size(); ++node)
        if (!world.is_leaf(node)) check(node);
}

}  // namespace

TEST_CASE("theory: alpha 1e9 is the frozen policy, to range(Q) / alpha p (1 - p)") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values q = direct_q(w);
        const log_policy decoded = tilted(w.tree, w.sft, q, 1e9);
        for_states(w.tree, [&](node_id state) {
            for (std::size_t z = 0; z < w.tree.vocab_size(); ++z) {
                const node_id node = w.tree.child(state, z);
                const double p = std::exp(w.sft[node]);
                if (std::abs(std::exp(decoded[node]) - p) > 1e-9 * p * (1 - p) + 1e-15)
                    FAIL("world " << number << ", node " << node);
            }
        });
    });
    SUCCEED();
}

TEST_CASE("theory: alpha 1e-6 takes the argmax of Q wherever it is clear") {
    std::size_t states = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const node_values q = direct_q(w);
        const log_policy decoded = tilted(w.tree, w.sft, q, 1e-6), best = greedy(w.tree, q);
        for_states(w.tree, [&](node_id state) {
            double first = -1, second = -1;
            for (std::size_t z = 0; z < w.tree.vocab_size(); ++z) {
                const double value = q[w.tree.child(state, z)];
                second = std::max(second, std::min(first, value));
                first = std::max(first, value);
            }
            if (first - second < 1e-4) return;
            ++states;
            for (std::size_t z = 0; z < w.tree.vocab_size(); ++z) {
                const node_id node = w.tree.child(state, z);
                if (!close(std::exp(decoded[node]), std::exp(best[node]), 1e-12))
                    FAIL("world " << number << ", node " << node);
            }
        });
    });
    CHECK(states > 5000);
}

TEST_CASE("theory: shifts of Q or r, and a common scale, change nothing") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values q = direct_q(w);
        const log_policy decoded = tilted(w.tree, w.sft, q, w.alpha);

        node_values shifted = q;  // by a constant that depends on the state
        for (node_id node = 1; node < w.tree.size(); ++node)
            shifted[node] += tq::random_key{number}.uniform(w.tree.parent(node)) - 0.5;
        small_world moved = w, scaled = w;
        for (double& r : moved.rewards) r -= 2;
        moved.baseline = aligned(w.tree, w.sft, moved.rewards, w.beta);
        for (double& r : scaled.rewards) r *= 8;
        scaled.baseline = aligned(w.tree, w.sft, scaled.rewards, 8 * w.beta);

        const double tolerance = 1e-12 * (1 + 1 / w.alpha + 1 / w.beta);
        const double largest = std::max(
            {largest_difference(decoded, tilted(w.tree, w.sft, shifted, w.alpha)),
             largest_difference(decoded, tilted(w.tree, w.sft, direct_q(moved), w.alpha)),
             largest_difference(decoded, tilted(w.tree, w.sft, direct_q(scaled), 8 * w.alpha))});
        if (largest > tolerance) FAIL("world " << number << ": " << largest);
    });
    SUCCEED();
}

TEST_CASE("theory: soft Q at alpha = beta decodes the optimum of the regularised objective") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values soft = soft_value(w.tree, w.sft, w.rewards, w.beta);
        const node_values decoded = log_reach(w.tree, tilted(w.tree, w.sft, soft, w.beta));
        const node_values frozen = log_reach(w.tree, w.sft);
        double total = 0;  // C_r by summing over whole answers
        for (node_id node = 0; node < w.tree.size(); ++node)
            if (w.tree.is_leaf(node)) total += std::exp(frozen[node] + w.rewards[node] / w.beta);
        for (node_id node = 0; node < w.tree.size(); ++node)
            if (w.tree.is_leaf(node) &&
                !close(std::exp(decoded[node]),
                       std::exp(frozen[node] + w.rewards[node] / w.beta) / total, 1e-12))
                FAIL("world " << number << ", answer " << node);
    });
    SUCCEED();
}

TEST_CASE("theory: soft Q estimated from the exact baseline has no variance") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values soft = soft_value(w.tree, w.sft, w.rewards, w.beta);
        const node_values frozen = log_reach(w.tree, w.sft), base = log_reach(w.tree, w.baseline);
        for (node_id leaf = 0; leaf < w.tree.size(); ++leaf) {
            if (!w.tree.is_leaf(leaf)) continue;
            for (node_id u = leaf; u != w.tree.root(); u = w.tree.parent(u)) {
                const double log_ratio = (frozen[leaf] - frozen[u]) - (base[leaf] - base[u]);
                if (!close(w.beta * log_ratio + w.rewards[leaf], soft[u], 1e-11))
                    FAIL("world " << number << ", answer " << leaf << ", prefix " << u);
            }
        }
    });
    SUCCEED();
}

TEST_CASE("theory: the hard Q exceeds the soft one by beta KL(optimum || policy) of the future") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values hard = direct_q(w), soft = soft_value(w.tree, w.sft, w.rewards, w.beta);
        const node_values kl = kl_below(w.tree, w.baseline, w.sft);
        for (node_id node = 0; node < w.tree.size(); ++node)
            if (!close(hard[node] - soft[node], w.beta * kl[node], 1e-11))
                FAIL("world " << number << ", node " << node);
    });
    SUCCEED();
}

TEST_CASE("theory: the hard Q is the derivative of log E exp(r / beta) by 1 / beta") {
    for_worlds(200, [](const small_world& w, std::uint64_t number) {
        const node_values hard = direct_q(w);
        const double inverse = 1 / w.beta, h = 1e-5;
        const node_values above = soft_value(w.tree, w.sft, w.rewards, 1 / (inverse + h));
        const node_values below = soft_value(w.tree, w.sft, w.rewards, 1 / (inverse - h));
        for (node_id node = 0; node < w.tree.size(); ++node) {
            const double slope =
                (above[node] * (inverse + h) - below[node] * (inverse - h)) / (2 * h);
            if (!close(slope, hard[node], 1e-7)) FAIL("world " << number << ", node " << node);
        }
    });
    SUCCEED();
}

TEST_CASE("theory: Q of the policy <= TQ* <= the oracle, everywhere") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values low = expectation(w.tree, w.sft, w.rewards), middle = direct_q(w),
                          high = maximum(w.tree, w.rewards);
        for (node_id node = 0; node < w.tree.size(); ++node)
            if (low[node] > middle[node] + 1e-12 || middle[node] > high[node] + 1e-12)
                FAIL("world " << number << ", node " << node);
    });
    SUCCEED();
}

TEST_CASE("theory: a large beta is controlled decoding, a small one the oracle") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const auto q_at = [&](double beta) {
            return expectation(w.tree, aligned(w.tree, w.sft, w.rewards, beta), w.rewards);
        };
        // TQ* moves by the variance of r, at most 1/4, for each unit of 1 / beta.
        const double distance =
            largest_difference(q_at(1e4), expectation(w.tree, w.sft, w.rewards));
        if (distance > 0.25e-4 + 1e-12) FAIL("world " << number << ": " << distance);
        // The best answer has beta log mass more to lose than any other has to gain.
        const node_values reach = log_reach(w.tree, w.sft);
        const double rarest = -*std::min_element(reach.begin(), reach.end());
        const double gap = largest_difference(q_at(1e-4), maximum(w.tree, w.rewards));
        if (gap > 1e-4 * rarest + 1e-12) FAIL("world " << number << ": " << gap);
    });
    SUCCEED();
}

TEST_CASE("theory: at the last token, and at alpha = beta, direct decoding is the optimum") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const log_policy decoded = tilted(w.tree, w.sft, direct_q(w), w.beta);
        for (node_id node = 1; node < w.tree.size(); ++node)
            if (w.tree.depth_of(node) == w.tree.depth() &&
                !close(std::exp(decoded[node]), std::exp(w.baseline[node]), 1e-12))
                FAIL("world " << number << ", node " << node);
    });
    SUCCEED();
}

TEST_CASE("theory: in every state, KL and the expected Q fall as alpha grows") {
    for_worlds(600, [](const small_world& w, std::uint64_t number) {
        const node_values q = direct_q(w);
        node_values last_kl(w.tree.size(), HUGE_VAL), last_value = last_kl;
        for (const double alpha : {0.02, 0.05, 0.1, 0.3, 1.0, 5.0, 100.0}) {
            const log_policy decoded = tilted(w.tree, w.sft, q, alpha);
            for_states(w.tree, [&](node_id state) {
                const double kl = state_kl(w.tree, decoded, w.sft, state);
                double value = 0;
                for (std::size_t z = 0; z < w.tree.vocab_size(); ++z)
                    value += std::exp(decoded[w.tree.child(state, z)]) * q[w.tree.child(state, z)];
                if (kl > last_kl[state] + 1e-12 || value > last_value[state] + 1e-12)
                    FAIL("world " << number << ", state " << state << ", alpha " << alpha);
                last_kl[state] = kl;
                last_value[state] = value;
            });
        }
    });
    SUCCEED();
}
