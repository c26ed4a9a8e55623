#pragma once
// Soft transfer: the value of the KL-regularised objective itself.

#include <utility>

#include "../estimate/soft.hpp"
#include "transfer.hpp"

namespace tq {

/// The soft action value, estimated from rollouts of any baseline:
///
///     Q_soft(s, z) = beta log E_{tau ~ rho_pi(. | s, z)}[exp(r / beta)]
///
///     tq::soft_transfer q{baseline, reward, tq::implicit_weights{policy, {.beta = 0.1}},
///                         {.horizon = 16, .rollouts = 4, .sampling = {.temperature = 1}}};
///     tq::decoder decode{policy, q, {.alpha = 0.1}};   // alpha = beta: the optimum itself
///
/// beta is that of the weights. Decoding with alpha = beta and the policy as prior gives the
/// optimum of E[r] - beta KL(. || policy), which direct transfer does not; and the nearer the
/// baseline is to that optimum, the less noise there is: none if it is the optimum, even with one
/// rollout. At equal divergence soft transfer earns the most reward, at any price direct transfer
/// does (tests/tabular). See soft_estimate for its bias, and for explicit_weights with the baseline
/// as prior.
///
/// Q may lie outside the reward's range, so that no race drops a candidate; a budget of tokens
/// holds. A candidate that ends or fills the answer is worth its reward. See transfer for what is
/// rolled out.
template <class Baseline, class Reward, class Weights>
class soft_transfer : public transfer<Baseline, Reward, soft<Weights>> {
    static_assert(explain_rollout_weights<std::remove_reference_t<Weights>>());

public:
    /// Throws invalid_option if an option is out of range.
    soft_transfer(Baseline&& baseline, Reward&& reward, Weights&& weights,
                  rollout_options options = {}, soft_transfer_options rule = {})
        : transfer<Baseline, Reward, soft<Weights>>{
              std::forward<Baseline>(baseline), std::forward<Reward>(reward),
              soft<Weights>{std::forward<Weights>(weights), rule}, options, "soft_transfer"} {}

    /// Strength of the KL penalty, in units of the reward.
    [[nodiscard]] double beta() const noexcept { return this->estimator().beta(); }
};

namespace detail {
template <class T, bool explained = explain_rollout_weights<std::remove_reference_t<T>>() &&
                                    explain_soft_weights<std::remove_reference_t<T>>()>
using usable_soft_weights =
    usable_t<usable_weights<T>, has_beta<std::remove_reference_t<T>>, stand_in_weights>;
}  // namespace detail

template <class Baseline, class Reward, class Weights>
soft_transfer(Baseline&&, Reward&&, Weights&&, rollout_options = {}, soft_transfer_options = {})
    -> soft_transfer<detail::usable_baseline<Baseline>, detail::usable_reward<Reward>,
                     detail::usable_soft_weights<Weights>>;

}  // namespace tq
