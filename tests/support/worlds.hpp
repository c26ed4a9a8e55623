#pragma once
// Small worlds with known answers.

#include <algorithm>
#include <cmath>
#include <tq/tabular/enumerate.hpp>
#include <tq/tabular/models.hpp>
#include <tq/tabular/tree.hpp>
#include <utility>

namespace tq::test {

/// A tree, a frozen policy, a reward in [0, 1], and the baseline that is exactly aligned to it.
struct small_world {
    tabular::tree tree;
    tabular::log_policy sft;
    tabular::node_values rewards;
    double alpha = 1, beta = 1;
    tabular::log_policy baseline;

    /// T, as a factor in bounds.
    [[nodiscard]] double depth() const { return static_cast<double>(tree.depth()); }
};

inline double log_uniform(double u, double lo, double hi) { return lo * std::pow(hi / lo, u); }

/// The world of a number: 2 to 4 tokens, 1 to 5 steps, with and without an end token, rewards that
/// are even, skewed or sparse, and alpha and beta in [0.03, 10].
inline small_world random_world(std::uint64_t number) {
    const random_key key = random_key{2405}.fold_in(number);
    const std::size_t vocab_size = 2 + key.bits(0) % 3, depth = 1 + key.bits(1) % 5;
    const token_id end = key.bits(2) % 3 == 0 ? token_id{1} : tabular::tree::no_end;
    small_world world{
        .tree = tabular::tree{vocab_size, depth, end}, .sft = {}, .rewards = {}, .baseline = {}};
    world.sft = tabular::random_policy(world.tree, key.fold_in(0), 0.3 + 1.5 * key.uniform(3));
    world.rewards = tabular::random_rewards(world.tree, key.fold_in(1));
    const std::uint64_t family = key.bits(4) % 3;
    for (double& r : world.rewards)
        r = family == 0 ? r : family == 1 ? std::pow(r, 4) : (r < 0.1 ? 1.0 : 0.0);
    world.alpha = log_uniform(key.uniform(5), 0.03, 10);
    world.beta = log_uniform(key.uniform(6), 0.03, 10);
    world.baseline = tabular::aligned(world.tree, world.sft, world.rewards, world.beta);
    return world;
}

/// Calls check(world, number) for the worlds 0 ... count - 1.
template <class Check>
void for_worlds(std::uint64_t count, Check check) {
    for (std::uint64_t number = 0; number < count; ++number) check(random_world(number), number);
}

/// The two-token, two-step world of known values: leaves 00, 01, 10, 11.
struct fixture {
    tabular::tree tree{2, 2};
    tabular::log_policy sft{};
    tabular::node_values rewards{}, other_rewards{};  // r and the baseline's own r_BL
    double beta = 0.5;

    fixture()
        : sft{0,
              std::log(0.6),
              std::log(0.4),
              std::log(0.7),
              std::log(0.3),
              std::log(0.2),
              std::log(0.8)},
          rewards{0, 0, 0, 0, 1, 0.2, 0.5},
          other_rewards{0, 0, 0, 1, 0, 0.5, 0.2} {}
};

/// max over nodes of |a - b|; infinities of the same sign are equal.
inline double largest_difference(const tabular::node_values& a, const tabular::node_values& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i]) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
}

/// The tokens on the way from the root to a node.
inline token_list answer_of(const tabular::tree& tree, tabular::node_id node) {
    token_list tokens;
    for (; node != tabular::tree::root(); node = tree.parent(node))
        tokens.push_back(tree.token(node));
    std::ranges::reverse(tokens);
    return tokens;
}

/// The value of a policy: E[r].
inline double value_of(const tabular::tree& tree, const tabular::log_policy& pi,
                       const tabular::node_values& rewards) {
    return tabular::expectation(tree, pi, rewards)[tabular::tree::root()];
}

}  // namespace tq::test
