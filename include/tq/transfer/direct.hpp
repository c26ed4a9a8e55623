#pragma once
// Direct transfer: Q(s, z) = E over the baseline's futures of the reward.

#include <utility>

#include "../estimate/mean.hpp"
#include "transfer.hpp"

namespace tq {

/// The action value of a baseline that was aligned to the target reward, estimated by rollouts:
///
///     TQ*(s, z) = E_{tau ~ rho_BL(. | s, z)} [ r(x, [y, z, tau]) ]
///
/// See transfer for what is rolled out. Source: arXiv 2405.20495, direct transfer.
template <class Baseline, class Reward>
class direct_transfer : public transfer<Baseline, Reward, mean> {
public:
    /// Throws invalid_option if an option is out of range.
    direct_transfer(Baseline&& baseline, Reward&& reward, rollout_options options = {})
        : transfer<Baseline, Reward, mean>{std::forward<Baseline>(baseline),
                                           std::forward<Reward>(reward), mean{}, options,
                                           "direct_transfer"} {}
};

template <class Baseline, class Reward>
direct_transfer(Baseline&&, Reward&&, rollout_options = {})
    -> direct_transfer<detail::usable_baseline<Baseline>, detail::usable_reward<Reward>>;

}  // namespace tq
