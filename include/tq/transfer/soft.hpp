#pragma once
// Soft transfer: the value of the KL-regularised objective itself.

#include <cstddef>
#include <span>
#include <utility>

#include "../estimate/soft.hpp"
#include "weighted.hpp"

namespace tq {

/// Options of soft_transfer, beside those of its rollouts.
struct soft_transfer_options {
    bool jackknife = false;       ///< as of soft_options
    weight_options weights = {};  ///< "
};

/// The soft action value, estimated from rollouts of any baseline:
///
///     Q_soft(s, z) = beta log E_{tau ~ rho_pi(. | s, z)}[exp(r / beta)]
///
///     tq::soft_transfer q{baseline, reward, tq::implicit_weights{policy, {.beta = 0.1}},
///                         {.horizon = 16, .rollouts = 4, .sampling = {.temperature = 1}}};
///     tq::decoder decode{policy, q, {.alpha = 0.1}};   // alpha = beta: the optimum itself
///
/// beta is that of the weights. Decoding with alpha = beta and the policy as prior gives the optimum of
/// E[r] - beta KL(. || policy), which direct transfer does not; and the nearer the baseline is to that
/// optimum, the less noise there is: none if it is the optimum, even with one rollout.
/// At equal divergence soft transfer earns the most reward, at any price direct transfer does
/// (tests/tabular). See soft_estimate for its bias, and for explicit_weights with the baseline as prior.
///
/// Rollouts, horizon, weights and diagnostics are as in indirect_transfer; Q may lie outside the
/// reward's range. A candidate that ends or fills the answer is worth its reward.
/// Lvalue arguments are held by reference and must outlive the object; rvalues are moved in.
/// threads: one object per thread.
template <class Baseline, class Reward, class Weights>
class soft_transfer {
    static_assert(
        requires(const std::remove_reference_t<Weights>& weights) {
            { weights.beta() } -> std::convertible_to<double>;
        },
        "tq: soft transfer needs weights with a beta(): implicit_weights or explicit_weights");

public:
    /// Throws invalid_option if an option is out of range.
    soft_transfer(Baseline&& baseline, Reward&& reward, Weights&& weights,
                  rollout_options options = {}, soft_transfer_options rule = {})
        : rollouts_{std::forward<Baseline>(baseline),
                    std::forward<Reward>(reward),
                    std::forward<Weights>(weights),
                    options,
                    "soft_transfer",
                    false},
          rule_{.beta = rollouts_.weights().beta(),
                .jackknife = rule.jackknife,
                .weights = rule.weights} {
        validate(rule_, "soft_transfer");
    }

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) {
        rollouts_.evaluate(queries,
                           [&](std::span<const double>, std::span<const double> log_weights) {
                               return soft_estimate(log_weights, rule_);
                           });
    }

    /// Model tokens that a candidate takes at most.
    [[nodiscard]] std::size_t cost(const decode_state& state) const {
        return rollouts_.cost(state);
    }

    /// Strength of the KL penalty, in units of the reward.
    [[nodiscard]] double beta() const noexcept { return rule_.beta; }
    /// What it was made with.
    [[nodiscard]] const rollout_options& options() const noexcept {
        return rollouts_.look().options();
    }
    /// Of all rollouts so far.
    [[nodiscard]] const rollout_stats& stats() const noexcept { return rollouts_.look().stats(); }

private:
    detail::weighted_rollouts<Baseline, Reward, Weights> rollouts_;
    soft_options rule_;
};

template <class Baseline, class Reward, class Weights>
soft_transfer(Baseline&&, Reward&&, Weights&&, rollout_options = {}, soft_transfer_options = {})
    -> soft_transfer<Baseline, Reward, Weights>;

}  // namespace tq
