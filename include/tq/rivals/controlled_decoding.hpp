#pragma once
// Controlled decoding: the policy looks ahead for itself.

#include "../decode/block_decoder.hpp"
#include "../transfer/direct.hpp"

namespace tq {

/// The action value of controlled decoding (CD): Q^pi(s, z), the expected reward of the answers
/// that the *frozen policy* would finish. Mudgal et al. train a prefix scorer for it; here, as in
/// the paper's comparison (its CD), it is estimated by the policy's own rollouts.
///
///     tq::direct_transfer q = tq::controlled_decoding_value(policy, reward, {.rollouts = 1});
///     tq::decoder decode{policy, q, {.alpha = 0.1}};
///
/// Model tokens per emitted token: up to 1 + top_k * rollouts * (1 + 2 horizon), as Transfer Q*.
/// Source: Mudgal et al., "Controlled decoding from language models", ICML 2024, arXiv 2310.17022.
/// Both are held by reference and must outlive it.
template <class Policy, class Judge>
[[nodiscard]] direct_transfer<Policy&, Judge&> controlled_decoding_value(
    Policy& policy, Judge& judge, rollout_options options = {}) {
    return {policy, judge, options};
}

/// Blockwise controlled decoding: of `candidates` blocks of the policy the one with the largest
/// Q^pi, estimated by the policy's rollouts from its end (`rollouts.horizon` 0: by the reward of
/// what is there).
///
/// Model tokens per emitted token: up to 2 candidates * (1 + rollouts * horizon / block).
/// Source: as above, section 3.2. Both are held by reference and must outlive it.
template <class Policy, class Judge>
[[nodiscard]] block_decoder<Policy&, direct_transfer<Policy&, Judge&>>
blockwise_controlled_decoding(Policy& policy, Judge& judge,
                              block_options options = {.select = selection::argmax},
                              rollout_options rollouts = {}) {
    return {policy, direct_transfer<Policy&, Judge&>{policy, judge, rollouts}, options};
}

}  // namespace tq
