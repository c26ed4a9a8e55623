#pragma once
// Soft transfer: the value of the KL-regularised objective itself, for all candidates of a state.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/estimator.hpp"
#include "normalise.hpp"
#include "soft_candidates.hpp"
#include "soft_estimate.hpp"

namespace tq {

/// Options of soft, beside the beta of its weights.
struct soft_transfer_options {
    bool jackknife = false;       ///< as of soft_options
    weight_options weights = {};  ///< as of soft_options
};

namespace detail {

template <class Weights>
concept has_beta = requires(const Weights& weights) {
    { weights.beta() } -> std::convertible_to<double>;
};

/// Do exp(log w - r / beta) of the baseline's rollouts average to 1?
template <class Weights>
constexpr bool has_unit_ratios() {
    if constexpr (requires { Weights::unit_ratios; })
        return Weights::unit_ratios;
    else
        return false;
}

}  // namespace detail

/// Fails to compile with one readable sentence if `Weights` has no `beta()`. Returns true: what is
/// wrong has been said.
template <class Weights>
constexpr bool explain_soft_weights() {
    static_assert(detail::has_beta<Weights>,
                  "tq: soft transfer needs weights with a beta(): implicit_weights or "
                  "explicit_weights");
    return true;
}

/// The estimator of soft transfer: rollouts that Weights weighs (rollout_weights with a `beta()`)
/// make the values of all candidates of a state together. By default controlled_soft_values if the
/// weights have unit_ratios, else tempered_soft_values; with another weighting, without guard or
/// with the jackknife, soft_estimate of each candidate.
///
/// Candidates that end the answer are weighed too: they are worth beta log w, which is r for
/// implicit_weights and r - (beta / beta_BL) r_BL for explicit_weights.
/// An lvalue is held by reference and must outlive it, an rvalue is moved in.
template <class Weights>
class soft {
    static_assert(explain_soft_weights<std::remove_reference_t<Weights>>());

public:
    /// Throws invalid_option if an option is out of range.
    explicit soft(Weights&& weights, soft_transfer_options options = {})
        : weights_(std::forward<Weights>(weights)),
          options_{
              .beta = weights_.beta(), .jackknife = options.jackknife, .weights = options.weights} {
        validate(options_, "soft_transfer");
    }

    /// One candidate alone: see soft_estimate.
    [[nodiscard]] value_estimate estimate(std::span<const double> /*rewards*/,
                                          std::span<const double> log_weights) const {
        return soft_estimate(log_weights, options_);
    }

    /// All candidates of a state. weight_diagnostics are those of each candidate's own weights.
    void estimate_together(std::span<const judged_candidate> candidates, reward_range rewards,
                           std::span<value_estimate> values) const {
        for (std::size_t j = 0; j < candidates.size(); ++j)
            values[j] = estimate(candidates[j].rewards, candidates[j].log_weights);
        const weight_options& rule = options_.weights;
        if (rule.form != weighting::self_normalised || !rule.guard || options_.jackknife) return;
        std::vector<value_estimate> together(values.size());
        double power = 1;
        if constexpr (detail::has_unit_ratios<std::remove_cvref_t<Weights>>())
            controlled_soft_values(candidates, options_.beta, rewards, together);
        else
            power = tempered_soft_values(candidates, options_.beta, together);
        for (std::size_t j = 0; j < values.size(); ++j) take(together[j], power, values[j]);
    }

    /// Infinite: candidates are valued together, so that nobody may be left out.
    [[nodiscard]] reward_range range(reward_range /*rewards*/) const noexcept { return {}; }
    /// Endings are weighed too.
    [[nodiscard]] static constexpr bool weighs_endings() noexcept { return true; }

    /// Strength of the KL penalty, in units of the reward.
    [[nodiscard]] double beta() const noexcept { return options_.beta; }
    [[nodiscard]] auto& weights() noexcept { return weights_; }

private:
    /// What the state's candidates say together, unless a candidate's weights say to do without.
    void take(const value_estimate& together, double power, value_estimate& value) const {
        weight_diagnostics& d = *value.weights;
        const collapse_action action = options_.weights.on_collapse;
        if (d.refused || (d.collapsed && action == collapse_action::unweighted)) return;
        const double alone = value.standard_error;
        value.q = together.q;
        value.standard_error = together.standard_error;
        if (d.collapsed && action == collapse_action::widen)
            value.standard_error = (std::max)(alone, together.standard_error);
        d.power = power;
        d.used = power == 1   ? weighting::self_normalised
                 : power == 0 ? weighting::unweighted
                              : weighting::tempered;
    }

    Weights weights_;
    soft_options options_;
};

template <class Weights>
soft(Weights&&, soft_transfer_options = {}) -> soft<Weights>;

}  // namespace tq
