#pragma once
// ARGS: the reward of what is there so far.

#include "../transfer/direct.hpp"

namespace tq {

/// The action value of ARGS: Q(s, z) = r(x, [y, z]), the reward of the unfinished answer, without
/// any look-ahead. Its decoder scores a candidate with log pi(z|s) + w r(x, [y, z]), which is the
/// tilt at alpha = 1 / w:
///
///     tq::direct_transfer q = tq::args_value(policy, reward);
///     tq::decoder greedy{policy, q, {.alpha = 1 / w, .select = tq::selection::argmax}};
///     tq::decoder stochastic{policy, q, {.alpha = 1 / w, .select = tq::selection::sample}};
///
/// Model tokens per emitted token: 1 + top_k.
/// A reward that was trained on whole answers need not mean anything on prefixes.
/// Source: Khanov, Burapacheep and Li, "ARGS: alignment as reward-guided search", ICLR 2024,
/// arXiv 2402.01694.
///
/// Both are held by reference and must outlive it; the policy is never asked anything.
template <class Policy, class Judge>
[[nodiscard]] direct_transfer<Policy&, Judge&> args_value(Policy& policy, Judge& judge) {
    return {policy, judge, {.horizon = 0}};
}

}  // namespace tq
