#pragma once
// Draws from a small world.

#include <cmath>
#include <cstddef>

#include "../core/random.hpp"
#include "enumerate.hpp"

namespace tq::tabular {

/// The answer (a leaf) that `pi` completes `node` to: the token after a state of depth d is drawn
/// with key.uniform(d). A leaf is its own completion; `pi` must allow some token in every state.
[[nodiscard]] inline node_id draw_answer(const tree& world, const log_policy& pi, node_id node,
                                         random_key key) {
    while (!world.is_leaf(node)) {
        double left = key.uniform(world.depth_of(node));
        node_id next = node;
        for (std::size_t z = 0; z < world.vocab_size() && left >= 0; ++z) {
            const node_id child = world.child(node, z);
            if (const double p = std::exp(pi[child]); p > 0) {
                next = child;  // rounding may leave a rest: it goes to the last one
                left -= p;
            }
        }
        node = next;
    }
    return node;
}

}  // namespace tq::tabular
