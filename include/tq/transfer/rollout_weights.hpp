#pragma once
// Where the importance weights of rollouts come from.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/policy.hpp"
#include "../concepts/reward.hpp"
#include "../core/error.hpp"
#include "../core/model_tokens.hpp"
#include "../core/trajectory.hpp"
#include "../estimate/weights.hpp"
#include "../rollout/log_probability.hpp"

namespace tq {

/// A rollout that was judged.
struct judged_rollout {
    answer_view answer;              ///< prompt and whole answer
    continuation_view continuation;  ///< what the baseline wrote of it
    double
        log_probability;  ///< of the continuation, under the law it was drawn from; NaN = unknown
    /// Its reward.
    double reward;
};

/// Weighs rollouts: log w of each, up to a constant for those that continue the same tokens.
///
/// Requirements:
///  1. `weigh(rollouts, log_weights)` fills log_weights[i] for rollouts[i], n >= 1: a number, or
///     -inf for weight 0; NaN is a backend_error. Returns the model_tokens that it cost.
///  2. A static `needs_log_probabilities` says whether log_probability must be known.
///
/// Optional: a static `unit_ratios` that is true if w exp(-r / beta) is a density ratio, whose mean
/// over the baseline's rollouts is 1. Soft transfer makes use of that.
template <class Weights>
concept rollout_weights = requires(Weights& weights, std::span<const judged_rollout> rollouts,
                                   std::span<double> log_weights) {
    { weights.weigh(rollouts, log_weights) } -> std::convertible_to<model_tokens>;
    { Weights::needs_log_probabilities } -> std::convertible_to<bool>;
};

/// Fails to compile with one readable sentence if `Weights` is not rollout_weights.
template <class Weights>
constexpr bool explain_rollout_weights() {
    if constexpr (!rollout_weights<Weights>)
        static_assert(detail::never<Weights>,
                      "tq: weights of rollouts are implicit_weights, explicit_weights or "
                      "reference_weights, or have `weigh(std::span<const tq::judged_rollout>, "
                      "std::span<double>)` returning tq::model_tokens, and a static "
                      "`needs_log_probabilities`");
    return true;
}

namespace detail {

/// Stands in for weights that are none.
struct stand_in_weights {
    template <class... Wrong>
    constexpr stand_in_weights(Wrong&&...) noexcept {}
    static constexpr bool needs_log_probabilities = false;
    [[nodiscard]] static double beta() noexcept { return 1; }
    [[nodiscard]] static model_tokens weigh(std::span<const judged_rollout>,
                                            std::span<double>) noexcept {
        return {};
    }
};

template <class T, bool explained = explain_rollout_weights<std::remove_reference_t<T>>()>
using usable_weights = usable_t<T, rollout_weights<std::remove_reference_t<T>>, stand_in_weights>;

/// Fills in the rewards that a second reward gives. Returns what that cost.
template <reward Judge>
model_tokens score_rollouts(Judge& judge, std::span<const judged_rollout> rollouts,
                            std::span<double> values) {
    std::vector<answer_view> answers;
    model_tokens spent;
    for (const judged_rollout& rollout : rollouts) {
        answers.push_back(rollout.answer);
        spent.reward += rollout.continuation.sequence.size() - rollout.continuation.start;
    }
    score_answers(judge, answers, values);
    return spent;
}

}  // namespace detail

/// Options of implicit_weights.
struct implicit_weight_options {
    /// Strength of the regularisation in the objective E[r] - beta KL(. || policy) whose optimum is
    /// looked for, in units of the reward; (0, inf).
    double beta = 0.1;

    /// The policy is softmax(logits / temperature), as decode_options::temperature; [0.001, 1000].
    double temperature = 1.0;
};

/// log w = log rho_pi(tau | u) - log rho_BL(tau | u) + r / beta: right for any baseline, and
/// mixture, that can write whatever the policy can. The policy reads every rollout once.
///
/// The policy must share the baseline's vocabulary: between unlike ones densities do not compare. A
/// baseline that does not tell the probabilities of its rollouts is refused (invalid_option).
/// See implicit_log_weight.
template <class Policy>
class implicit_weights {
    static_assert(explain_policy<std::remove_reference_t<Policy>>());

public:
    /// Do rollouts need their log-probability?
    static constexpr bool needs_log_probabilities = true;
    /// rho_pi / rho_BL averages to 1.
    static constexpr bool unit_ratios = true;

    /// Throws invalid_option if an option is out of range.
    implicit_weights(Policy&& policy, implicit_weight_options options = {})
        : policy_(std::forward<Policy>(policy)),
          options_{options} {
        check_option(options.beta > 0 && std::isfinite(options.beta), "implicit_weights", "beta",
                     options.beta, "in (0, inf)");
        check_option(options.temperature >= 1e-3 && options.temperature <= 1e3, "implicit_weights",
                     "temperature", options.temperature, "in [0.001, 1000]");
    }

    /// Strength of the KL penalty, in units of the reward.
    [[nodiscard]] double beta() const noexcept { return options_.beta; }

    /// Models rollout_weights.
    [[nodiscard]] model_tokens weigh(std::span<const judged_rollout> rollouts,
                                     std::span<double> log_weights) {
        std::vector<continuation_view> continuations;
        model_tokens spent;
        for (const judged_rollout& rollout : rollouts) {
            check_option(!std::isnan(rollout.log_probability), "implicit_weights",
                         "log-probability of a rollout", "unknown",
                         "told by the baseline; one with another vocabulary, or a server without "
                         "log-probabilities, cannot: use direct_transfer or explicit_weights");
            continuations.push_back(rollout.continuation);
            spent.policy += rollout.continuation.rows();
            const std::size_t n = continuations.size();
            const bool shared = n > 1 && same_start(continuations[n - 2], continuations[n - 1]);
            spent.policy -= shared && rollout.continuation.rows() > 0 ? 1 : 0;
        }
        const std::vector<double> logs =
            log_probabilities(policy_, continuations, options_.temperature);
        for (std::size_t i = 0; i < rollouts.size(); ++i)
            log_weights[i] = implicit_log_weight(logs[i], rollouts[i].log_probability,
                                                 rollouts[i].reward, options_.beta);
        return spent;
    }

private:
    /// Do they continue the same tokens? Those are read once.
    [[nodiscard]] static bool same_start(const continuation_view& a, const continuation_view& b) {
        return std::ranges::equal(a.sequence.first(a.start), b.sequence.first(b.start));
    }

    Policy policy_;
    implicit_weight_options options_;
};

template <class Policy>
implicit_weights(Policy&&, implicit_weight_options = {}) -> implicit_weights<Policy>;

/// Options of explicit_weights.
struct explicit_weight_options {
    double beta = 0.1;       ///< as of implicit_weights; (0, inf)
    double base_beta = 0.1;  ///< that which the baseline was aligned with; (0, inf)
};

/// log w = r / beta - r_BL / base_beta: right only if the baseline is the optimum of r_BL at
/// base_beta; then it needs no probabilities, so that any tokenizer or server will do. See
/// explicit_log_weight.
template <class BaseReward>
class explicit_weights {
    static_assert(explain_reward<std::remove_reference_t<BaseReward>>());

public:
    /// Do rollouts need their log-probability?
    static constexpr bool needs_log_probabilities = false;

    /// Throws invalid_option if an option is out of range.
    explicit_weights(BaseReward&& base_reward, explicit_weight_options options = {})
        : base_reward_(std::forward<BaseReward>(base_reward)),
          options_{options} {
        for (const double beta : {options.beta, options.base_beta})
            check_option(beta > 0 && std::isfinite(beta), "explicit_weights", "beta", beta,
                         "in (0, inf)");
    }

    /// Strength of the KL penalty, in units of the reward.
    [[nodiscard]] double beta() const noexcept { return options_.beta; }

    /// Models rollout_weights.
    [[nodiscard]] model_tokens weigh(std::span<const judged_rollout> rollouts,
                                     std::span<double> log_weights) {
        const model_tokens spent = detail::score_rollouts(base_reward_, rollouts, log_weights);
        for (std::size_t i = 0; i < rollouts.size(); ++i)
            log_weights[i] = explicit_log_weight(rollouts[i].reward, log_weights[i], options_.beta,
                                                 options_.base_beta);
        return spent;
    }

private:
    BaseReward base_reward_;
    explicit_weight_options options_;
};

template <class BaseReward>
explicit_weights(BaseReward&&, explicit_weight_options = {}) -> explicit_weights<BaseReward>;

/// The weights of the authors' program, for weighting::reference, to replay it: log w = (r - r_BL)
/// / 2.
/// See weighting::reference for what is wrong with them.
template <class BaseReward>
class reference_weights {
    static_assert(explain_reward<std::remove_reference_t<BaseReward>>());

public:
    /// Do rollouts need their log-probability?
    static constexpr bool needs_log_probabilities = false;

    /// base_reward: what the baseline was aligned to.
    explicit reference_weights(BaseReward&& base_reward)
        : base_reward_(std::forward<BaseReward>(base_reward)) {}

    /// Models rollout_weights.
    [[nodiscard]] model_tokens weigh(std::span<const judged_rollout> rollouts,
                                     std::span<double> log_weights) {
        const model_tokens spent = detail::score_rollouts(base_reward_, rollouts, log_weights);
        for (std::size_t i = 0; i < rollouts.size(); ++i)
            log_weights[i] = reference_log_weight(rollouts[i].reward, log_weights[i]);
        return spent;
    }

private:
    BaseReward base_reward_;
};

template <class BaseReward>
reference_weights(BaseReward&&) -> reference_weights<BaseReward>;

}  // namespace tq
