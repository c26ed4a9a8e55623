#pragma once
// The decoder: prompts in, streams of tokens out.

#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "generation.hpp"
#include "race.hpp"
#include "scorer.hpp"
#include "selection.hpp"
#include "stream.hpp"
#include "whole_value.hpp"

namespace tq {

/// Decodes with the tilted distributions of a scorer.
///
///     tq::decoder decode{policy, q, {.alpha = 0.1}};                  // tilts the policy
///     tq::decoder decode{policy, q, baseline, {.alpha = 0.1}};        // tilts the baseline
///     for (const tq::step& step : decode.generate(prompt, 64)) ...    // streams one answer
///     auto batch = decode.generate_all(prompts, 64);                  // many prompts together
///
/// Lvalue policy and value are held by reference and must outlive the decoder; rvalues are moved in.
/// With zero_value it is the frozen model itself. The same seed, options and models give the same
/// tokens, whichever prompts are decoded together.
/// threads: one decoder per thread; it uses the models it was given.
template <class Policy, class Value, class Anchor = std::remove_reference_t<Policy>>
class decoder {
public:
    /// What one decision is.
    using step_type = step;

    /// Throws invalid_option if an option is out of range.
    decoder(Policy&& policy, Value&& value, decode_options options = {})
        : scorer_{std::forward<Policy>(policy), std::forward<Value>(value), std::move(options)},
          end_tokens_{chosen_end_tokens(this->options().end_tokens, scorer_.policy())} {}
    /// The same with the prior taken from `anchor`, which must outlive it.
    decoder(Policy&& policy, Value&& value, Anchor& anchor, decode_options options = {})
        : scorer_{std::forward<Policy>(policy), std::forward<Value>(value), anchor,
                  std::move(options)},
          end_tokens_{chosen_end_tokens(this->options().end_tokens, scorer_.policy())} {}

    /// A lazy input range of steps; each increment computes one token, `break` cancels.
    /// `index` tells the prompts of one seed apart: it is part of every random number's key.
    /// Throws invalid_option if the prompt is empty or holds a token outside the vocabulary.
    [[nodiscard]] token_stream<decoder> generate(token_view prompt, std::size_t max_tokens,
                                                 std::size_t index = 0) {
        return token_stream<decoder>{start({&prompt, 1}, max_tokens, index)};
    }

    /// Many prompts, advanced together: one more token each per advance(). Prompt i gets the answer
    /// that generate(prompts[i], max_tokens, first_index + i) would give.
    [[nodiscard]] generation<decoder> generate_all(std::span<const token_list> prompts,
                                                   std::size_t max_tokens,
                                                   std::size_t first_index = 0) {
        const std::vector<token_view> views(prompts.begin(), prompts.end());
        return start(views, max_tokens, first_index);
    }

    /// One decision for each state: the primitive for people with their own loop.
    [[nodiscard]] std::vector<step> next(std::span<const decode_state> states) {
        if constexpr (can_race)
            if (options().race != race_mode::exhaustive) return race(states);
        return score(states);
    }

    /// Time spent so far in kernels that look at whole rows of the policy or the anchor.
    [[nodiscard]] double kernel_seconds() const noexcept { return scorer_.kernel_seconds(); }

    /// What it was made with.
    [[nodiscard]] const decode_options& options() const noexcept { return scorer_.options(); }
    /// Tokens that end an answer.
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }

private:
    using value_type = std::remove_reference_t<Value>;
    static constexpr bool can_race = sampled_value<value_type> || bounded_value<value_type>;

    [[nodiscard]] std::vector<step> score(std::span<const decode_state> states) {
        std::vector<tilted_distribution> distributions = scorer_.score(states);
        std::vector<step> steps;
        for (std::size_t i = 0; i < states.size(); ++i) {
            const std::size_t choice = select(distributions[i], options().select, states[i].key);
            race_report report;
            report.contenders = report.starters = distributions[i].size();
            report.rollouts = rollouts_of(distributions[i]);
            report.rounds = report.rollouts > 0 ? 1 : 0;
            steps.push_back(make_step(states[i], std::move(distributions[i]), choice, report));
        }
        return steps;
    }

    /// As score, without the rollouts that the race saves. A distribution whose every Q is known
    /// all the same is closed.
    [[nodiscard]] std::vector<step> race(std::span<const decode_state> states) {
        const bool wide = std::isfinite(width()) &&
                          (options().widen || options().top_k >= vocab_size_of(scorer_.policy()));
        std::vector<tilted_distribution> distributions =
            wide ? scorer_.propose_contenders(states, width()) : scorer_.propose(states);
        const std::vector<race_outcome> outcomes = run_race(states, distributions);
        std::vector<step> steps;
        for (std::size_t i = 0; i < states.size(); ++i) {
            if (outcomes[i].complete && !wide) scorer_.close(distributions[i], states[i]);
            steps.push_back(make_step(states[i], std::move(distributions[i]), outcomes[i].winner,
                                      outcomes[i].report));
        }
        return steps;
    }

    [[nodiscard]] std::vector<race_outcome> run_race(std::span<const decode_state> states,
                                                     std::span<tilted_distribution> distributions) {
        if constexpr (sampled_value<value_type>) {
            return tq::run_race(scorer_.value(), options(), states, distributions);
        } else {
            whole_value<value_type> whole{scorer_.value()};
            std::vector<race_outcome> outcomes =
                tq::run_race(whole, options(), states, distributions);
            for (std::size_t i = 0; i < outcomes.size(); ++i)  // it counted candidates
                outcomes[i].report.rollouts = rollouts_of(distributions[i]);
            return outcomes;
        }
    }

    [[nodiscard]] static std::size_t rollouts_of(const tilted_distribution& distribution) {
        std::size_t sum = 0;
        for (const std::size_t rollouts : distribution.rollouts) sum += rollouts;
        return sum;
    }

    /// How far apart two candidates' Q / alpha can be.
    [[nodiscard]] double width() {
        const reward_range range = scorer_.value().range();
        return std::isinf(options().alpha) ? 0.0 : (range.hi - range.lo) / options().alpha;
    }

    [[nodiscard]] step make_step(const decode_state& state, tilted_distribution&& distribution,
                                 std::size_t choice, const race_report& report) const {
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

    [[nodiscard]] generation<decoder> start(std::span<const token_view> prompts,
                                            std::size_t max_tokens, std::size_t first_index) {
        check_prompts(prompts, vocab_size_of(scorer_.policy()), "decoder");
        return {*this, prompts, max_tokens, random_key{options().seed}, first_index};
    }

    scorer<Policy, Value, Anchor> scorer_;
    token_list end_tokens_;
};

template <class Policy, class Value>
decoder(Policy&&, Value&&, decode_options = {}) -> decoder<Policy, Value>;
template <class Policy, class Value, class Anchor>
decoder(Policy&&, Value&&, Anchor&, decode_options = {}) -> decoder<Policy, Value, Anchor>;

}  // namespace tq
