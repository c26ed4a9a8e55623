#pragma once
// Random worlds whose baseline is aligned to something else, imperfectly, and what its rollouts give.

#include <cmath>
#include <cstdint>
#include <tq/estimate/weights.hpp>
#include <tq/tabular/importance.hpp>
#include <tq/tabular/sample.hpp>
#include <vector>

#include "support/worlds.hpp"

namespace tq::test {

/// Rewards and implicit log-weights of whole answers that a baseline wrote, [n].
struct rollouts {
    std::vector<double> rewards, log_weights;
};

/// The world of a number with beta in [0.2, 2], and a baseline aligned to other random rewards, with
/// noise of the given standard deviation in its logits.
struct weighted_world {
    small_world world;
    tabular::node_values base_rewards;
    tabular::log_policy baseline;
    tabular::node_values log_weights;  ///< of whole answers

    explicit weighted_world(std::uint64_t number, double noise = 0.3)
        : world{random_world(number)} {
        const random_key key = random_key{4052}.fold_in(number);
        world.beta = log_uniform(key.uniform(0), 0.2, 2);
        world.baseline = tabular::aligned(world.tree, world.sft, world.rewards, world.beta);
        base_rewards = tabular::random_rewards(world.tree, key.fold_in(0));
        baseline = tabular::aligned(world.tree, world.sft, base_rewards, world.beta);
        const tabular::log_policy wobble =
            tabular::random_policy(world.tree, key.fold_in(1), noise);
        baseline = tabular::tilted(world.tree, baseline, wobble, 1.0);
        log_weights =
            tabular::implicit_weights(world.tree, world.sft, baseline, world.rewards, world.beta);
    }

    [[nodiscard]] rollouts draw(std::size_t n, std::uint64_t seed) const {
        const tabular::node_values sft = tabular::log_reach(world.tree, world.sft);
        const tabular::node_values base = tabular::log_reach(world.tree, baseline);
        rollouts result;
        for (std::size_t i = 0; i < n; ++i) {
            const tabular::node_id leaf = tabular::draw_answer(
                world.tree, baseline, 0, random_key{seed}.fold_in(4053).fold_in(i));
            result.rewards.push_back(world.rewards[leaf]);
            result.log_weights.push_back(
                implicit_log_weight(sft[leaf], base[leaf], world.rewards[leaf], world.beta));
        }
        return result;
    }

    [[nodiscard]] double exact_q() const {
        return tabular::importance_value(world.tree, baseline, log_weights, world.rewards)[0];
    }
    [[nodiscard]] double exact_variance() const {
        return tabular::importance_variance(world.tree, baseline, log_weights, world.rewards)[0];
    }
    [[nodiscard]] double exact_ess_share() const {
        return tabular::ess_share(world.tree, baseline, log_weights)[0];
    }
    [[nodiscard]] double exact_soft() const {
        return tabular::soft_value(world.tree, world.sft, world.rewards, world.beta)[0];
    }
};

}  // namespace tq::test
