#pragma once
// Indirect transfer: the value under the optimum of r, from a baseline aligned to something else.

#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include "weighted.hpp"

namespace tq {

/// The action value under rho_r, the optimum of E[r] - beta KL(. || policy), estimated from rollouts of
/// any baseline by importance weights:
///
///     Q(s, z) = E_{tau ~ rho_BL(. | s, z)}[w r] / E[w],   w = rho_r / rho_BL
///
///     tq::indirect_transfer q{baseline, reward, tq::implicit_weights{policy, {.beta = 0.1}},
///                             {.horizon = 16, .rollouts = 16, .sampling = {.temperature = 1}}};
///
/// The weights are implicit_weights (right for any baseline), explicit_weights (from two rewards) or
/// reference_weights; how they enter the estimate, and what happens when they collapse, is in
/// weight_options and importance_estimate. value_estimate::weights says how they were.
///
///  * Rollouts, horizon and candidates that end the answer are as in direct_transfer. Implicit weights
///    need sampled rollouts (temperature > 0, top_p 1), all of them fresh: none is reused.
///  * With one rollout the weight cancels: it is direct transfer. Fewer than 8 are not worth weighting;
///    the default rule does not.
///  * Weights grow wilder with the length of rollouts: prefer short horizons, a baseline that is near,
///    or a mixture with the policy in it.
///
/// Models bounded_value: unless the form is plain or reference, or a collapse may refuse an estimate, Q
/// lies in the reward's range.
/// Lvalue arguments are held by reference and must outlive the object; rvalues are moved in.
/// threads: one object per thread. Source: arXiv 2405.20495, indirect transfer.
template <class Baseline, class Reward, class Weights>
class indirect_transfer {
public:
    /// Throws invalid_option if an option is out of range.
    indirect_transfer(Baseline&& baseline, Reward&& reward, Weights&& weights,
                      rollout_options options = {}, weight_options rule = {})
        : rollouts_{std::forward<Baseline>(baseline),
                    std::forward<Reward>(reward),
                    std::forward<Weights>(weights),
                    options,
                    "indirect_transfer",
                    rule.form == weighting::reference},
          rule_{rule} {
        validate(rule, "indirect_transfer");
    }

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) {
        rollouts_.evaluate(
            queries, [&](std::span<const double> rewards, std::span<const double> log_weights) {
                return importance_estimate(rewards, log_weights, rule_);
            });
    }

    /// Model tokens that a candidate takes at most.
    [[nodiscard]] std::size_t cost(const decode_state& state) const {
        return rollouts_.cost(state);
    }

    /// What every Q lies in.
    [[nodiscard]] reward_range range() const {
        reward_range range = rollouts_.look().range();
        if (rule_.form == weighting::plain || rule_.form == weighting::reference) return {};
        if (rule_.on_collapse == collapse_action::refuse)
            range.lo = -std::numeric_limits<double>::infinity();
        return range;
    }

    /// What it was made with.
    [[nodiscard]] const rollout_options& options() const noexcept {
        return rollouts_.look().options();
    }
    /// Of all rollouts so far.
    [[nodiscard]] const rollout_stats& stats() const noexcept { return rollouts_.look().stats(); }

private:
    detail::weighted_rollouts<Baseline, Reward, Weights> rollouts_;
    weight_options rule_;
};

template <class Baseline, class Reward, class Weights>
indirect_transfer(Baseline&&, Reward&&, Weights&&, rollout_options = {}, weight_options = {})
    -> indirect_transfer<Baseline, Reward, Weights>;

}  // namespace tq
