#pragma once
// The decoder: prompts in, streams of tokens out.

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "generation.hpp"
#include "race.hpp"
#include "scorer.hpp"
#include "selection.hpp"
#include "stream.hpp"

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
    using step_type = step;

    /// Throws invalid_option if an option is out of range.
    decoder(Policy&& policy, Value&& value, decode_options options = {})
        : scorer_{std::forward<Policy>(policy), std::forward<Value>(value), std::move(options)} {
        adopt_end_tokens();
    }
    decoder(Policy&& policy, Value&& value, Anchor& anchor, decode_options options = {})
        : scorer_{std::forward<Policy>(policy), std::forward<Value>(value), anchor,
                  std::move(options)} {
        adopt_end_tokens();
    }

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
        std::vector<step> steps(states.size());
        const auto finish = [&](std::size_t i, tilted_distribution&& distribution,
                                std::size_t choice) {
            steps[i] = make_step(states[i], std::move(distribution), choice);
        };
        if (racing()) {
            race_all(states, finish);
        } else {
            std::vector<tilted_distribution> distributions = scorer_.score(states);
            for (std::size_t i = 0; i < states.size(); ++i) {
                const std::size_t choice =
                    select(distributions[i], options().select, states[i].key);
                finish(i, std::move(distributions[i]), choice);
            }
        }
        return steps;
    }

    [[nodiscard]] const decode_options& options() const noexcept { return scorer_.options(); }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }

private:
    void adopt_end_tokens() {
        end_tokens_ = options().end_tokens;
        if (!end_tokens_.empty()) return;
        const token_view stated = end_tokens_of(scorer_.policy());
        end_tokens_.assign(stated.begin(), stated.end());
    }

    static constexpr bool can_race = sampled_value<std::remove_reference_t<Value>>;

    [[nodiscard]] bool racing() const noexcept {
        return can_race && options().race != race_mode::exhaustive;
    }

    template <class Finish>
    void race_all(std::span<const decode_state> states, Finish finish) {
        if constexpr (can_race) {
            std::vector<tilted_distribution> distributions = scorer_.propose(states);
            const std::vector<std::size_t> choices =
                run_race(scorer_.value(), options(), states, distributions);
            for (std::size_t i = 0; i < states.size(); ++i) {
                const std::vector<double>& q = distributions[i].q;
                if (std::none_of(q.begin(), q.end(),
                                 [](double value) { return std::isnan(value); }))
                    scorer_.close(distributions[i]);
                finish(i, std::move(distributions[i]), choices[i]);
            }
        }
    }

    [[nodiscard]] step make_step(const decode_state& state, tilted_distribution&& distribution,
                                 std::size_t choice) const {
        step result;
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
        check_prompts(prompts, scorer_.policy().vocab_size(), "decoder");
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
