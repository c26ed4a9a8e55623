#pragma once
// How tokens are scored and picked.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string_view>

#include "../core/error.hpp"
#include "../core/token.hpp"
#include "../core/trajectory.hpp"

namespace tq {

struct tilted_distribution;

/// How a token is taken from the tilted distribution.
enum class selection {
    sample,  ///< draw from it (the paper's theory; KL to the policy is bounded)
    argmax,  ///< its mode (what the paper's experiments do; more reward, more KL)
};

/// How much work the candidates of a step are worth.
enum class race_mode {
    exhaustive,  ///< every rollout of every candidate; the whole tilted distribution is known
    /// Candidates that cannot win, given the reward's range, are dropped; the token is the same as
    /// exhaustive's. Needs a value that is a sampled_value and states a finite range to save work.
    exact,
    /// For sampled rollouts: candidates are rolled out in rounds, 2, 4, 8, ... each, and dropped once
    /// confidence intervals tell them from the leader. With probability 1 - race_error the candidate
    /// with the largest expected score is never dropped. Needs what exact needs.
    confident,
    /// Sequential halving: race_budget rollouts per step, in log2(top_k) equal rounds; after each the
    /// worse half leaves. Source: Karnin, Koren and Somekh, ICML 2013.
    halving,
    /// Chooses for every step, by what can still win there, what a rollout costs and what token_budget
    /// allows: halving where not all their rollouts are affordable; else exact up to 64 rollouts each,
    /// and confident above. step::race says what was chosen.
    automatic,
};

/// `top_k` that keeps the whole vocabulary.
inline constexpr std::size_t whole_vocabulary = (std::numeric_limits<std::size_t>::max)();

/// Options of the scorer (alpha, top_k, temperature) and of the decoder (the rest).
struct decode_options {
    /// Strength of the tilt, in units of the reward; (0, inf]. Small = follow the reward, inf = the
    /// frozen model (no-op).
    ///
    /// alpha is the temperature of the reward in prior(z) exp(Q(z) / alpha): only Q / alpha matters, so
    /// doubling alpha and the reward changes nothing. The spread of a state's Q over alpha is the range
    /// of logits that the tilt adds, w = (max Q - min Q) / alpha: below 1 it hardly moves the prior,
    /// above 10 the best Q takes all. The divergence that a draw costs is at most w^2 / 8 nats a step
    /// (Hoeffding's lemma), and at most w. So choose it as a fraction of Q's spread *between the
    /// candidates of a state*, which is smaller than that of the rewards. decode/budget.hpp finds
    /// the alpha of a given divergence.
    double alpha = 0.1;

    /// Chooses alpha for each state, in (0, inf], once the candidates' Q are known and corrected (log_p,
    /// log_z and the divergences are not yet there); tilted_distribution::alpha says what was chosen.
    /// Empty = `alpha` (no-op). Needs race_mode::exhaustive.
    /// It must be a function of its arguments. Ready-made: kl_per_step and kl_per_answer in
    /// decode/budget.hpp.
    std::function<double(const tilted_distribution&, const decode_state&)> alpha_rule = {};

    /// Draw a state's Q towards their mean, the more the noisier they are, before the tilt (see
    /// tq::shrink): the tilt then spends less divergence on noise, like a larger alpha. It makes no argmax
    /// better. Needs race_mode::exhaustive, and rollouts >= 2 to do anything. false = no-op.
    bool shrink = false;

    /// Candidates per step, the most likely ones of the anchor; [1, inf), cut to the vocabulary.
    /// Cost grows linearly. whole_vocabulary = no restriction (no-op).
    std::size_t top_k = 8;

    /// Temperature of the policy itself: pi is softmax(logits / temperature); [0.001, 1000].
    /// 1 = as trained (no-op).
    double temperature = 1.0;

    /// How the token is picked.
    tq::selection select = tq::selection::sample;

    /// Which rollouts are done. exhaustive = all of them (no-op).
    race_mode race = race_mode::exhaustive;

    /// In a race: candidates are all tokens that can win, wherever they are in the vocabulary, if at
    /// most top_k can; only else the top_k likeliest. Costs no rollouts more. false = no-op.
    bool widen = false;

    /// Of race_mode::confident: the probability, per step, that the best candidate is dropped; (0, 1).
    double race_error = 0.05;

    /// Of race_mode::halving: rollouts per step, all candidates together; >= 1. A candidate never gets
    /// more than the value's own number of rollouts.
    std::size_t race_budget = 32;

    /// Of race_mode::automatic: model tokens that look-ahead may cost per emitted token, on average over
    /// an answer of full length; what one step leaves over, later ones may use. (0, inf]; inf = no
    /// limit (no-op). One rollout of L tokens takes 1 + 2 L at most: baseline and reward read it.
    double token_budget = std::numeric_limits<double>::infinity();

    /// How early the budget may be used: after a share x of the answer at most a share
    /// x^(1/budget_front) of it; [1, inf). 1 = evenly (no-op), 2 = half of it in the first quarter.
    double budget_front = 1.0;

    /// Every random number is a function of it; the same seed gives the same text.
    std::uint64_t seed = 0;

    /// Tokens that end an answer. Empty = those that the policy states (`end_tokens()`), if any.
    token_list end_tokens = {};
};

/// Throws invalid_option unless every field is in range.
inline void validate(const decode_options& options, std::string_view where) {
    check_option(options.alpha > 0, where, "alpha", options.alpha, "in (0, inf]");
    check_option(!options.alpha_rule || options.race == race_mode::exhaustive, where, "race",
                 static_cast<int>(options.race),
                 "exhaustive with an alpha_rule: it needs every candidate's Q");
    check_option(!options.shrink || options.race == race_mode::exhaustive, where, "race",
                 static_cast<int>(options.race),
                 "exhaustive with shrink: it needs every candidate's Q");
    check_option(options.top_k >= 1, where, "top_k", options.top_k, ">= 1");
    check_option(options.race_error > 0 && options.race_error < 1, where, "race_error",
                 options.race_error, "in (0, 1)");
    check_option(options.race_budget >= 1, where, "race_budget", options.race_budget, ">= 1");
    check_option(options.token_budget > 0, where, "token_budget", options.token_budget,
                 "in (0, inf]");
    check_option(std::isinf(options.token_budget) || options.race == race_mode::automatic, where,
                 "token_budget", options.token_budget,
                 "inf, or race = automatic: the other modes have their own measures");
    check_option(options.budget_front >= 1 && options.budget_front <= 1e3, where, "budget_front",
                 options.budget_front, "in [1, 1000]");
    check_option(options.temperature >= 1e-3 && options.temperature <= 1e3, where, "temperature",
                 options.temperature, "in [0.001, 1000]");
}

}  // namespace tq
