#pragma once
// What a decision looks like: the tilted distribution, and the token that was picked from it.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/weight_diagnostics.hpp"
#include "../core/error.hpp"
#include "../core/model_tokens.hpp"
#include "../core/token.hpp"
#include "options.hpp"

namespace tq {

/// The closed form at one state: p(z|s) ∝ prior(z|s) exp(Q(s,z) / alpha) over the candidates.
/// Candidates are in descending order of the prior. All logarithms are natural.
/// A race that did not do all rollouts leaves the distribution open: q is NaN for candidates that
/// were dropped before any rollout, and log_p, log_z, kl and kl_prior are NaN.
struct tilted_distribution {
    std::vector<token_id> tokens;       ///< [n] candidates
    std::vector<double> log_prior;      ///< [n] log-probability under the anchor that is tilted
    std::vector<double> log_pi;         ///< [n] log-probability under the policy (whole vocabulary)
    std::vector<double> q;              ///< [n] Q(s, z), in units of the reward
    std::vector<double> q_error;        ///< [n] its standard error; 0 = exact, NaN = unknown
    std::vector<double> log_p;          ///< [n] log-probability of the tilt; exp sums to 1
    std::vector<std::size_t> rollouts;  ///< [n] rollouts that Q rests on
    /// [n] what the importance weights behind Q were like; empty where no Q rests on any.
    std::vector<std::optional<weight_diagnostics>> weights;
    double log_z = 0;     ///< log normaliser: log sum_z prior(z) exp(Q(z) / alpha)
    double kl = 0;        ///< KL(p || policy) in nats, the top_k cut counted in
    double kl_prior = 0;  ///< KL(p || anchor that is tilted), likewise; does not grow with alpha
    double alpha = 0;     ///< strength of the tilt
    model_tokens spent;   ///< what it cost
    weight_summary weight_totals;  ///< of `weights`

    /// How many candidates.
    [[nodiscard]] std::size_t size() const noexcept { return tokens.size(); }

    /// Takes in what is known of candidate `i`. Throws backend_error if its Q is NaN.
    void set(std::size_t i, const value_estimate& value) {
        if (std::isnan(value.q))
            throw backend_error{"action value: Q of token " + std::to_string(tokens[i]) +
                                " is NaN"};
        q[i] = value.q;
        q_error[i] = value.standard_error;
        rollouts[i] = value.rollouts;
        spent += value.spent;
        if (!value.weights) return;
        weights.resize(size());
        weights[i] = value.weights;
        weight_totals.add(*value.weights);
    }
};

/// How a step's race went.
struct race_report {
    race_mode mode = race_mode::exhaustive;  ///< what was run
    bool halved = false;                     ///< the budget did not allow all its rollouts
    std::size_t contenders = 0;              ///< candidates that could win before any rollout
    std::size_t starters = 0;                ///< those of them that the budget let in
    std::size_t rounds = 0;                  ///< 0 = decided without a rollout
    std::size_t rollouts = 0;                ///< done, of all candidates
    double token_budget = std::numeric_limits<double>::infinity();  ///< of this step
};

/// One emitted token.
struct step {
    /// What was chosen.
    token_id token = 0;
    std::size_t choice = 0;    ///< its index in the distribution
    std::size_t position = 0;  ///< 0 = first token of the answer
    std::size_t prompt = 0;    ///< which prompt it belongs to, where several are decoded together
    bool ends = false;         ///< an end token: it closes the answer and is not part of it
    /// Divergence of this decision from the policy, in nats: that of the distribution when
    /// sampling (NaN if a race left it open), -log pi(token) when taking the argmax. The sum over
    /// an answer is the exact divergence along its path.
    double kl = 0;
    model_tokens spent;      ///< what it cost
    weight_summary weights;  ///< how many estimates rest on importance weights, and how many failed
    race_report race;        ///< how it was decided
    /// What it was chosen from.
    tilted_distribution distribution;

    /// What this step adds to the answer.
    [[nodiscard]] token_view emitted() const noexcept {
        return ends ? token_view{} : token_view{&token, 1};
    }
    /// Divergence of the distribution from the one that it tilts, in nats.
    [[nodiscard]] double tilt_kl() const noexcept { return distribution.kl_prior; }
    /// How many tokens at the answer's end look-ahead has not read after this step, `before` of
    /// them before it: none if the token's Q is known, only it if another's is.
    [[nodiscard]] std::size_t unread(std::size_t before) const noexcept {
        const auto known = [](double q) { return !std::isnan(q); };
        if (known(distribution.q[choice])) return 0;
        return std::ranges::any_of(distribution.q, known) ? 1 : before + 1;
    }
};

}  // namespace tq
