#pragma once
// The decoder: prompts in, streams of tokens out.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "generation.hpp"
#include "race.hpp"
#include "scorer.hpp"
#include "selection.hpp"

namespace tq {

/// Decodes with the tilted distributions of a scorer.
///
///     tq::decoder decode{policy, q, {.alpha = 0.1}};                  // tilts the policy
///     tq::decoder decode{policy, q, baseline, {.alpha = 0.1}};        // tilts the baseline
///     for (const tq::step& step : decode.generate(prompt, 64)) ...    // streams one answer
///     auto batch = decode.generate_all(prompts, 64);                  // many prompts together
///
/// Lvalue policy and value are held by reference and must outlive the decoder; rvalues are moved
/// in. The same seed, options and models give the same tokens, whichever prompts are decoded
/// together.
/// threads: one decoder per thread; it uses the models it was given. Models decoding_method.
template <class Policy, class Value, class Anchor = std::remove_reference_t<Policy>>
class decoder : public generates<decoder<Policy, Value, Anchor>> {
public:
    /// What one decision is.
    using step_type = step;

    /// Throws invalid_option if an option is out of range, or not to be had from this value.
    decoder(Policy&& policy, Value&& value, decode_options options = {})
        : scorer_{std::forward<Policy>(policy), std::forward<Value>(value), std::move(options)},
          end_tokens_{chosen_end_tokens(this->options().end_tokens, scorer_.policy())} {}
    /// The same with the prior taken from `anchor`, which must outlive it.
    decoder(Policy&& policy, Value&& value, Anchor& anchor, decode_options options = {})
        : scorer_{std::forward<Policy>(policy), std::forward<Value>(value), anchor,
                  std::move(options)},
          end_tokens_{chosen_end_tokens(this->options().end_tokens, scorer_.policy())} {}

    /// Algorithm 1 of arXiv 2405.20495: one token for each state. The paper's naive form, which
    /// gives the same tokens, is examples/ladder/00_algorithm.cpp.
    [[nodiscard]] std::vector<step> next(std::span<const decode_state> states) {
        // Candidates: the top_k likeliest tokens of the prior (of prior and noise, if the race is
        // wide; less those that cannot win).
        const double reach = reach_of_race();
        std::vector<tilted_distribution> found = scorer_.propose(states, reach);
        // Q(s, z): the baseline finishes every answer s + z and the reward judges it, in a race
        // that drops who cannot win; exhaustive drops nobody.
        const std::vector<race_outcome> raced = scorer_.race(mode(), states, found);
        std::vector<step> steps;
        for (std::size_t i = 0; i < states.size(); ++i) {
            // pi(z|s) ∝ prior(z|s) exp(Q(s,z) / alpha), once every Q is known.
            const bool closed = raced[i].complete && std::isinf(reach);
            if (closed) scorer_.close(found[i], states[i]);
            // A draw from it or its mode; the race has found the same where it left the form open.
            const std::size_t choice =
                closed ? select(found[i], options().select, states[i].key) : raced[i].winner;
            steps.push_back(make_step(states[i], std::move(found[i]), choice, raced[i].report));
        }
        return steps;
    }

    /// What, as far as has been decoded, saves nothing or changes nothing, in words; empty =
    /// nothing.
    [[nodiscard]] std::vector<std::string> notes() const {
        std::vector<std::string> result;
        if (races_unbounded_)
            result.emplace_back(
                "race = exact drops no candidate: the reward states no range (give it one with "
                "`range()` or tq::bounded{reward, {lo, hi}})");
        if (widest_tilt_ >= 0 && widest_tilt_ < 1)
            result.push_back("Q's spread is below alpha (" + std::to_string(widest_tilt_) +
                             " of it at most, in steps whose every Q is known): the tilt hardly "
                             "changes the prior");
        return result;
    }

    /// Its distributions without a choice, every Q known.
    [[nodiscard]] auto& scorer() noexcept { return scorer_; }
    /// Time spent so far in kernels that look at whole rows of the policy or the anchor.
    [[nodiscard]] double kernel_seconds() const noexcept { return scorer_.kernel_seconds(); }
    [[nodiscard]] const decode_options& options() const noexcept { return scorer_.options(); }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }
    [[nodiscard]] std::size_t vocab_size() { return vocab_size_of(scorer_.policy()); }

private:
    /// Where every Q is needed, or a value says nothing of itself, exact is exhaustive.
    [[nodiscard]] race_mode mode() const {
        constexpr bool says_nothing = !bounded_value<std::remove_reference_t<Value>>;
        return says_nothing || options().alpha_rule ? race_mode::exhaustive : options().race;
    }

    /// How far apart two candidates' Q / alpha can be, if the race is over the whole vocabulary;
    /// inf if it is over the top_k likeliest tokens.
    [[nodiscard]] double reach_of_race() {
        constexpr double narrow = std::numeric_limits<double>::infinity();
        const reward_range range = value_range(scorer_.value());
        if (mode() == race_mode::exhaustive || !is_finite(range)) return narrow;
        if (!options().widen && options().top_k < vocab_size()) return narrow;
        return tilt_of_q(range.hi - range.lo, options().alpha);
    }

    [[nodiscard]] step make_step(const decode_state& state, tilted_distribution&& distribution,
                                 std::size_t choice, const race_report& report) {
        take_note(distribution, report);
        step result;
        result.race = report;
        result.spent = distribution.spent;
        result.weights = distribution.weight_totals;
        result.choice = choice;
        result.token = distribution.tokens[choice];
        result.position = state.answer().size();
        result.ends = is_end_token(result.token, state.end_tokens);
        result.kl =
            options().select == selection::argmax ? -distribution.log_pi[choice] : distribution.kl;
        result.distribution = std::move(distribution);
        return result;
    }

    void take_note(const tilted_distribution& distribution, const race_report& report) {
        if (report.mode == race_mode::exact && report.rollouts > 0)
            races_unbounded_ = !is_finite(value_range(scorer_.value()));
        if (std::ranges::any_of(distribution.q, [](double q) { return std::isnan(q); })) return;
        double lo = std::numeric_limits<double>::infinity(), hi = -lo;
        for (const double q : distribution.q)
            if (std::isfinite(q)) lo = (std::min)(lo, q), hi = (std::max)(hi, q);
        if (hi > lo)
            widest_tilt_ = (std::max)(widest_tilt_, tilt_of_q(hi - lo, distribution.alpha));
    }

    tq::scorer<Policy, Value, Anchor> scorer_;
    token_list end_tokens_;
    bool races_unbounded_ = false;
    double widest_tilt_ = -1;  // largest spread of Q / alpha in a step; < 0: none is known
};

template <class Policy, class Value>
decoder(Policy&&, Value&&, decode_options = {})
    -> decoder<detail::usable_policy<Policy>, detail::usable_value<Value>>;
template <class Policy, class Value, class Anchor>
decoder(Policy&&, Value&&, Anchor&, decode_options = {}) -> decoder<Policy, Value, Anchor>;

}  // namespace tq
