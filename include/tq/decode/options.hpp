#pragma once
// How tokens are scored and picked.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
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

/// The words for them.
[[nodiscard]] constexpr auto names_of(selection) noexcept {
    return std::array<named<selection>, 2>{
        {{selection::sample, "sample"}, {selection::argmax, "argmax"}}};
}
[[nodiscard]] inline std::string to_string(selection value) { return word_of(value); }

/// How much work the candidates of a step are worth.
enum class race_mode {
    exhaustive,  ///< every rollout of every candidate; the whole tilted distribution is known
    /// Candidates that cannot win, given the range of Q, are dropped; the token is the same as
    /// exhaustive's. Where no range is stated nobody is dropped.
    exact,
    /// For sampled rollouts of a piecewise_value: candidates are rolled out in rounds, 2, 4, 8, ...
    /// each, and dropped once confidence intervals tell them from the leader. With probability
    /// 1 - race_error the candidate with the largest expected score is never dropped.
    confident,
};

/// The words for them.
[[nodiscard]] constexpr auto names_of(race_mode) noexcept {
    return std::array<named<race_mode>, 3>{{{race_mode::exhaustive, "exhaustive"},
                                            {race_mode::exact, "exact"},
                                            {race_mode::confident, "confident"}}};
}
[[nodiscard]] inline std::string to_string(race_mode value) { return word_of(value); }

/// `top_k` that keeps the whole vocabulary.
inline constexpr std::size_t whole_vocabulary = (std::numeric_limits<std::size_t>::max)();

/// Options of the scorer (alpha, top_k, temperature) and of the decoder (the rest).
struct decode_options {
    /// Strength of the tilt, in units of the reward; (0, inf]. Small = follow the reward; inf = no
    /// tilt (no-op): draws of the prior, cut to top_k. Only with top_k = whole_vocabulary and the
    /// policy as prior is that the frozen model itself.
    ///
    /// alpha is the temperature of the reward in prior(z) exp(Q(z) / alpha): only Q / alpha
    /// matters, so doubling alpha and the reward changes nothing. The spread of a state's Q over
    /// alpha is the range of logits that the tilt adds, w = (max Q - min Q) / alpha: below 1 it
    /// hardly moves the prior, above 10 the best Q takes all. The divergence that a draw costs is
    /// at most w^2 / 8 nats a step (Hoeffding's lemma), and at most w, besides what the cut to
    /// top_k costs, -log(mass of the candidates). So choose it as a fraction of Q's spread
    /// *between the candidates of a state*, which is smaller than that of the rewards:
    /// decode/suggest_alpha.hpp measures it. decode/budget.hpp finds the alpha of a given
    /// divergence.
    double alpha = 0.1;

    /// Chooses alpha for each state, in (0, inf], once the candidates' Q are known (log_p, log_z
    /// and the divergences are not yet there); tilted_distribution::alpha says what was chosen.
    /// Empty = `alpha` (no-op). It needs every Q: an exact race then drops nobody, and the others
    /// are refused. It must be a function of its arguments. Ready-made: kl_per_step and
    /// kl_per_answer in decode/budget.hpp.
    std::function<double(const tilted_distribution&, const decode_state&)> alpha_rule = {};

    /// Candidates per step, the most likely ones of the anchor; [1, inf), cut to the vocabulary.
    /// Cost grows linearly. whole_vocabulary = no restriction (no-op).
    std::size_t top_k = 8;

    /// Temperature of the policy itself: pi is softmax(logits / temperature); [0.001, 1000].
    /// 1 = as trained (no-op).
    double temperature = 1.0;

    /// How the token is picked.
    tq::selection select = tq::selection::sample;

    /// Which rollouts are done. exhaustive = all of them (no-op); choose it where the whole
    /// distribution is wanted: a race leaves it open where it dropped somebody.
    race_mode race = race_mode::exact;

    /// In a race over a known range: candidates are the top_k tokens of the largest
    /// log prior + noise, a draw of top_k tokens of the prior without replacement, instead of the
    /// top_k likeliest; of them only those that can win are rolled out, which costs no more. The
    /// token is the one of the largest log prior + noise + Q / alpha among them: if no more than
    /// top_k can win, as the range tells, a draw from the closed form over the whole vocabulary.
    /// false = no-op, and for argmax, which has no noise.
    bool widen = false;

    /// Of race_mode::confident: the probability, per step, that the best candidate is dropped; (0,
    /// 1).
    double race_error = 0.05;

    /// Model tokens that look-ahead may cost per emitted token, on average over an answer of full
    /// length; what one step leaves over, later ones may use. (0, inf]; inf = no limit (no-op). One
    /// rollout of L tokens takes 1 + 2 L at most: baseline and reward read it. The candidates that
    /// can win are rolled out as far as it goes, the best prospects first; where not all their
    /// rollouts are affordable the worse half leaves after each round (Karnin, Koren and Somekh,
    /// ICML 2013).
    double token_budget = std::numeric_limits<double>::infinity();

    /// How early the budget may be used: after a share x of the answer at most a share
    /// x^(1/budget_front) of it; [1, 1000]. 1 = evenly (no-op), 2 = half of it in the first
    /// quarter. In long answers early rollouts are dear: of 140 tokens at 6 each the first token
    /// gets two rollouts (562 model tokens) from 13 on. Raise it where the first tokens decide.
    double budget_front = 1.0;

    /// Every random number is a function of it; the same seed gives the same text.
    std::uint64_t seed = 0;

    /// Tokens that end an answer. Empty = those that the policy states (`end_tokens()`), if any.
    token_list end_tokens = {};
};

/// Throws invalid_option unless every field is in range.
inline void validate(const decode_options& options, std::string_view where) {
    const bool budget = !std::isinf(options.token_budget);
    check_option(options.alpha > 0, where, "alpha", options.alpha, "in (0, inf]");
    check_option(options.top_k >= 1, where, "top_k", options.top_k, ">= 1");
    check_option(options.temperature >= 1e-3 && options.temperature <= 1e3, where, "temperature",
                 options.temperature, "in [0.001, 1000]");
    check_option(!options.alpha_rule || options.race != race_mode::confident, where, "race",
                 options.race, "exhaustive or exact with an alpha_rule: it needs every Q");
    check_option(options.race_error > 0 && options.race_error < 1, where, "race_error",
                 options.race_error, "in (0, 1)");
    check_option(options.token_budget > 0, where, "token_budget", options.token_budget,
                 "in (0, inf]");
    check_option(!budget || (!options.alpha_rule && options.race != race_mode::exhaustive), where,
                 "token_budget", options.token_budget,
                 "inf where every Q is wanted (an alpha_rule, or race = exhaustive)");
    check_option(options.budget_front >= 1 && options.budget_front <= 1e3, where, "budget_front",
                 options.budget_front, "in [1, 1000]");
}

}  // namespace tq
