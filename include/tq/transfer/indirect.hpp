#pragma once
// Indirect transfer: the value under the optimum of r, from a baseline aligned to something else.

#include <utility>

#include "../estimate/importance.hpp"
#include "transfer.hpp"

namespace tq {

/// The action value under rho_r, the optimum of E[r] - beta KL(. || policy), estimated from
/// rollouts of any baseline by importance weights:
///
///     Q(s, z) = E_{tau ~ rho_BL(. | s, z)}[w r] / E[w],   w = rho_r / rho_BL
///
///     tq::indirect_transfer q{baseline, reward, tq::implicit_weights{policy, {.beta = 0.1}},
///                             {.horizon = 16, .rollouts = 16, .sampling = {.temperature = 1}}};
///
/// The weights are implicit_weights (right for any baseline), explicit_weights (from two rewards)
/// or reference_weights; how they enter the estimate, and what happens when they collapse, is in
/// weight_options and importance_estimate. value_estimate::weights says how they were.
///
///  * With one rollout the weight cancels: it is direct transfer. Fewer than 8 are not worth
///    weighting; the default rule does not.
///  * Weights grow wilder with the length of rollouts: prefer short horizons, a baseline that is
///    near, or a mixture with the policy in it.
///
/// See transfer for what is rolled out. Source: arXiv 2405.20495, indirect transfer.
template <class Baseline, class Reward, class Weights>
class indirect_transfer : public transfer<Baseline, Reward, importance<Weights>> {
    static_assert(explain_rollout_weights<std::remove_reference_t<Weights>>());

public:
    /// Throws invalid_option if an option is out of range.
    indirect_transfer(Baseline&& baseline, Reward&& reward, Weights&& weights,
                      rollout_options options = {}, weight_options rule = {})
        : transfer<Baseline, Reward, importance<Weights>>{
              std::forward<Baseline>(baseline), std::forward<Reward>(reward),
              importance<Weights>{std::forward<Weights>(weights), rule, "indirect_transfer"},
              options, "indirect_transfer"} {}
};

template <class Baseline, class Reward, class Weights>
indirect_transfer(Baseline&&, Reward&&, Weights&&, rollout_options = {}, weight_options = {})
    -> indirect_transfer<detail::usable_baseline<Baseline>, detail::usable_reward<Reward>,
                         detail::usable_weights<Weights>>;

}  // namespace tq
