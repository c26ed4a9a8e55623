#pragma once
// States where the answer may end at once, and soft transfer from imperfect baselines.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tq/decode/scorer.hpp>
#include <tq/tabular/enumerate.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/soft.hpp>
#include <vector>

namespace tq::test {

/// How likely a decoder is to end the answer at once, means over worlds: the exact probability, what
/// soft transfer gives, and how far apart they are in a world. Its least and largest Q.
struct soft_ends {
    double exact = 0, found = 0, apart = 0;
    double least_q = HUGE_VAL, largest_q = -HUGE_VAL;
};

/// Worlds of 4 tokens and 5 steps with rewards in [0, 1]; the baseline is the optimum at `beta` with
/// noise of this standard deviation in its logits. Each is decoded `repeats` times.
inline soft_ends measure_soft_ends(std::uint64_t seed, std::uint64_t worlds, std::size_t repeats,
                                   double beta, double noise, std::size_t rollouts,
                                   const soft_transfer_options& options = {}) {
    constexpr token_id end = 3;
    const auto all = static_cast<double>(worlds);
    soft_ends result;
    for (std::uint64_t number = 0; number < worlds; ++number) {
        const random_key key = random_key{seed}.fold_in(number);
        const tabular::tree world{4, 5, end};
        const tabular::log_policy sft = tabular::random_policy(world, key.fold_in(0));
        const tabular::node_values rewards = tabular::random_rewards(world, key.fold_in(1));
        const tabular::log_policy optimum = tabular::aligned(world, sft, rewards, beta);
        tabular::tree_policy policy{world, sft},
            baseline{world,
                     tabular::tilted(world, optimum,
                                     tabular::random_policy(world, key.fold_in(2), noise), 1.0)};
        soft_transfer value{baseline,
                            bounded{tabular::tree_reward{world, rewards}, {0, 1}},
                            implicit_weights{policy, {.beta = beta}},
                            {.horizon = 9, .rollouts = rollouts, .sampling = {.temperature = 1}},
                            options};
        tq::scorer scorer{policy, value, {.alpha = beta, .top_k = 4}};
        const token_list prompt{0}, ends{end};
        std::vector<decode_state> states(repeats);
        for (std::size_t i = 0; i < repeats; ++i)
            states[i] = {.sequence = prompt,
                         .prompt_size = 1,
                         .tokens_left = 5,
                         .end_tokens = ends,
                         .key = key.fold_in(1000 + i)};
        double mean = 0;
        for (const tilted_distribution& d : scorer.score(states))
            for (std::size_t z = 0; z < d.size(); ++z) {
                result.least_q = std::min(result.least_q, d.q[z]);
                result.largest_q = std::max(result.largest_q, d.q[z]);
                if (d.tokens[z] == end) mean += std::exp(d.log_p[z]) / static_cast<double>(repeats);
            }
        const double exact = std::exp(optimum[world.child(0, end)]);
        result.exact += exact / all;
        result.found += mean / all;
        result.apart += std::abs(mean - exact) / all;
    }
    return result;
}

}  // namespace tq::test
