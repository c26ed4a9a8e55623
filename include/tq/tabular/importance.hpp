#pragma once
// Exact values of importance sampling: what its estimates converge to, and how fast.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "enumerate.hpp"

namespace tq::tabular {

/// log E[w | node] under `pi`, w in the leaves as logarithms; -inf = weight 0 is allowed.
[[nodiscard]] inline node_values log_mean_weight(const tree& world, const log_policy& pi,
                                                 const node_values& log_weights) {
    return backward(world, log_weights, [&](node_id node, const node_values& values) {
        double top = -std::numeric_limits<double>::infinity();
        for (std::size_t z = 0; z < world.vocab_size(); ++z)
            top = (std::max)(top, pi[world.child(node, z)] + values[world.child(node, z)]);
        if (std::isinf(top)) return top;
        double sum = 0;
        for (std::size_t z = 0; z < world.vocab_size(); ++z)
            sum += std::exp(pi[world.child(node, z)] + values[world.child(node, z)] - top);
        return top + std::log(sum);
    });
}

/// E[w f | node] / E[w | node] under `pi`: with implicit weights and f = r it is the enumerated
/// indirect Q. f itself at a leaf; -inf where no answer below has a weight.
[[nodiscard]] inline node_values importance_value(const tree& world, const log_policy& pi,
                                                  const node_values& log_weights,
                                                  const node_values& leaves) {
    const node_values mass = log_mean_weight(world, pi, log_weights);
    return backward(world, leaves, [&](node_id node, const node_values& values) {
        if (std::isinf(mass[node])) return -std::numeric_limits<double>::infinity();
        double sum = 0;
        for (std::size_t z = 0; z < world.vocab_size(); ++z) {
            const node_id next = world.child(node, z);
            const double p = std::exp(pi[next] + mass[next] - mass[node]);
            if (p > 0) sum += p * values[next];
        }
        return sum;
    });
}

/// (E w)^2 / E w^2 under `pi`: the share of rollouts from each node that count, in the limit.
[[nodiscard]] inline node_values ess_share(const tree& world, const log_policy& pi,
                                           node_values log_weights) {
    node_values result = log_mean_weight(world, pi, log_weights);
    for (double& value : log_weights) value *= 2;
    const node_values squares = log_mean_weight(world, pi, log_weights);
    for (node_id node = 0; node < world.size(); ++node)
        result[node] = std::isinf(squares[node]) ? 0 : std::exp(2 * result[node] - squares[node]);
    return result;
}

/// lim n Var of the self-normalised estimate: E[w^2 (f - E_w f)^2] / (E w)^2.
[[nodiscard]] inline node_values importance_variance(const tree& world, const log_policy& pi,
                                                     const node_values& log_weights,
                                                     const node_values& leaves) {
    const node_values q = importance_value(world, pi, log_weights, leaves);
    const node_values share = ess_share(world, pi, log_weights);
    node_values twice = log_weights, squares = leaves;
    for (double& value : twice) value *= 2;
    for (double& value : squares) value *= value;
    const node_values first = importance_value(world, pi, twice, leaves);
    node_values result = importance_value(world, pi, twice, squares);
    for (node_id node = 0; node < world.size(); ++node)
        result[node] =
            (std::max)(0.0, result[node] - 2 * q[node] * first[node] + q[node] * q[node]) /
            share[node];
    return result;
}

/// log w of each node's whole answer y, from the root: log rho_pi(y) - log rho_BL(y) + r / beta.
/// Below a node u they differ from those of the continuation by log rho_pi(u) - log rho_BL(u), a
/// constant.
[[nodiscard]] inline node_values implicit_weights(const tree& world, const log_policy& pi,
                                                  const log_policy& baseline,
                                                  const node_values& rewards, double beta) {
    node_values result = log_reach(world, pi);
    const node_values base = log_reach(world, baseline);
    for (node_id node = 0; node < world.size(); ++node)
        result[node] += rewards[node] / beta - base[node];
    return result;
}

}  // namespace tq::tabular
