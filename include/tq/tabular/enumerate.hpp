#pragma once
// Exact answers by enumeration: values, optimal policies and divergences of a small world.
//
// Notation of arXiv 2405.20495: pi(z|s) token policies, rho their law over answers, r the reward of
// a whole answer. Everything is in double precision and O(nodes).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "../core/random.hpp"
#include "tree.hpp"

namespace tq::tabular {

/// A number for each node, [tree.size()].
using node_values = std::vector<double>;

/// A token policy on a tree: log pi(z|s), stored at the node [s, z], [tree.size()]; 0 at the root.
using log_policy = node_values;

/// Values of inner nodes from those of the leaves: combine(node) reads its children.
template <class Combine>
[[nodiscard]] node_values backward(const tree& world, const node_values& leaves, Combine combine) {
    node_values values = leaves;
    for (node_id node = world.size(); node-- > 0;)
        if (!world.is_leaf(node)) values[node] = combine(node, std::as_const(values));
    return values;
}

/// E[leaf value | node] under `pi`. With a reward in the leaves: V(s), and at [s, z] it is Q(s, z).
[[nodiscard]] inline node_values expectation(const tree& world, const log_policy& pi,
                                             const node_values& leaves) {
    return backward(world, leaves, [&](node_id node, const node_values& values) {
        double sum = 0;
        for (std::size_t z = 0; z < world.vocab_size(); ++z)
            if (const double p = std::exp(pi[world.child(node, z)]); p > 0)
                sum += p * values[world.child(node, z)];
        return sum;
    });
}

/// The largest leaf value below each node: the oracle Q*.
[[nodiscard]] inline node_values maximum(const tree& world, const node_values& leaves) {
    return backward(world, leaves, [&](node_id node, const node_values& values) {
        double best = values[world.child(node, 0)];
        for (std::size_t z = 1; z < world.vocab_size(); ++z)
            best = (std::max)(best, values[world.child(node, z)]);
        return best;
    });
}

/// beta log E[exp(leaf value / beta) | node] under `pi`: the soft value. beta > 0.
[[nodiscard]] inline node_values soft_value(const tree& world, const log_policy& pi,
                                            const node_values& leaves, double beta) {
    return backward(world, leaves, [&](node_id node, const node_values& values) {
        double top = -std::numeric_limits<double>::infinity();
        for (std::size_t z = 0; z < world.vocab_size(); ++z)
            top = (std::max)(top, pi[world.child(node, z)] + values[world.child(node, z)] / beta);
        double sum = 0;
        for (std::size_t z = 0; z < world.vocab_size(); ++z)
            sum += std::exp(pi[world.child(node, z)] + values[world.child(node, z)] / beta - top);
        return beta * (top + std::log(sum));
    });
}

/// Turns unnormalised log weights at the children of each node into a policy.
[[nodiscard]] inline log_policy normalise(const tree& world, node_values log_weights) {
    log_weights[world.root()] = 0;
    for (node_id node = 0; node < world.size(); ++node) {
        if (world.is_leaf(node)) continue;
        const auto first = log_weights.begin() + static_cast<std::ptrdiff_t>(world.child(node, 0));
        const auto last = first + static_cast<std::ptrdiff_t>(world.vocab_size());
        const double top = *std::max_element(first, last);
        double sum = 0;
        for (auto it = first; it != last; ++it) sum += std::exp(*it - top);
        for (auto it = first; it != last; ++it) *it -= top + std::log(sum);
    }
    return log_weights;
}

/// pi_alg(z|s) ∝ prior(z|s) exp(Q(s,z) / alpha), with Q(s, z) at the node [s, z].
[[nodiscard]] inline log_policy tilted(const tree& world, const log_policy& prior,
                                       const node_values& q, double alpha) {
    node_values weights(world.size());
    for (node_id node = 1; node < world.size(); ++node)
        weights[node] = prior[node] + q[node] / alpha;
    return normalise(world, std::move(weights));
}

/// The token policy of rho_r(y) ∝ rho_pi(y) exp(r(y) / beta): the optimum of E[r] - beta KL(rho ||
/// rho_pi), which an aligned baseline approximates.
[[nodiscard]] inline log_policy aligned(const tree& world, const log_policy& pi,
                                        const node_values& rewards, double beta) {
    return tilted(world, pi, soft_value(world, pi, rewards, beta), beta);
}

/// The argmax of a node value among the children: Q -> the greedy policy. Ties: the lowest token.
[[nodiscard]] inline log_policy greedy(const tree& world, const node_values& q) {
    log_policy result(world.size(), -std::numeric_limits<double>::infinity());
    result[world.root()] = 0;
    for (node_id node = 0; node < world.size(); ++node) {
        if (world.is_leaf(node)) continue;
        node_id best = world.child(node, 0);
        for (std::size_t z = 1; z < world.vocab_size(); ++z)
            if (q[world.child(node, z)] > q[best]) best = world.child(node, z);
        result[best] = 0;
    }
    return result;
}

/// log rho(prefix): the log-probability of reaching each node under `pi`.
[[nodiscard]] inline node_values log_reach(const tree& world, const log_policy& pi) {
    node_values result = pi;
    for (node_id node = 1; node < world.size(); ++node) result[node] += result[world.parent(node)];
    return result;
}

/// KL(p(.|s) || q(.|s)) of one state.
[[nodiscard]] inline double state_kl(const tree& world, const log_policy& p, const log_policy& q,
                                     node_id node) {
    double sum = 0;
    for (std::size_t z = 0; z < world.vocab_size(); ++z) {
        const node_id next = world.child(node, z);
        if (const double mass = std::exp(p[next]); mass > 0) sum += mass * (p[next] - q[next]);
    }
    return sum;
}

/// sum over states of P_visit(s) KL(p(.|s) || q(.|s)); with visit = p, this is KL(rho_p || rho_q).
[[nodiscard]] inline double path_kl(const tree& world, const log_policy& visit, const log_policy& p,
                                    const log_policy& q) {
    const node_values reach = log_reach(world, visit);
    double sum = 0;
    for (node_id node = 0; node < world.size(); ++node)
        if (!world.is_leaf(node) && std::exp(reach[node]) > 0)
            sum += std::exp(reach[node]) * state_kl(world, p, q, node);
    return sum;
}

/// KL(rho_p || rho_q) over answers.
[[nodiscard]] inline double answer_kl(const tree& world, const log_policy& p, const log_policy& q) {
    return path_kl(world, p, p, q);
}

/// A random policy: logits are normal with standard deviation `spread` >= 0.
[[nodiscard]] inline log_policy random_policy(const tree& world, random_key key,
                                              double spread = 1.0) {
    node_values logits(world.size());
    for (node_id node = 1; node < world.size(); ++node) {
        const double radius = std::sqrt(-2 * std::log(key.uniform(2 * node)));
        logits[node] =
            spread * radius * std::cos(2 * 3.14159265358979323846 * key.uniform(2 * node + 1));
    }
    return normalise(world, std::move(logits));
}

/// Random rewards, uniform on (0, 1), for every node (inner ones are what a cut rollout earns).
[[nodiscard]] inline node_values random_rewards(const tree& world, random_key key) {
    node_values rewards(world.size());
    for (node_id node = 0; node < world.size(); ++node) rewards[node] = key.uniform(node);
    return rewards;
}

}  // namespace tq::tabular
