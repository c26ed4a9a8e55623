#pragma once
// Answers in the making, for one or many prompts.

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/policy.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "step.hpp"

namespace tq {

/// The end tokens that a user chose, or those that the model states if there was no choice.
template <class Model>
[[nodiscard]] token_list chosen_end_tokens(const token_list& chosen, const Model& model) {
    if (!chosen.empty()) return chosen;
    const token_view stated = end_tokens_of(model);
    return {stated.begin(), stated.end()};
}

/// Throws invalid_option unless every prompt has tokens, all of them in [0, vocab_size).
inline void check_prompts(std::span<const token_view> prompts, std::size_t vocab_size,
                          const std::string& decoder) {
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const std::string where = decoder + ": prompt " + std::to_string(i);
        check_option(!prompts[i].empty(), where, "size", 0, ">= 1 token");
        for (const token_id token : prompts[i])
            check_option(token >= 0 && static_cast<std::size_t>(token) < vocab_size, where, "token",
                         token, "in [0, " + std::to_string(vocab_size) + ")");
    }
}

/// The answers of a batch of prompts while they are decoded together.
///
/// Nothing is lost on an error: if advance() throws, every answer is as it was before the call, and
/// calling it again retries the same decisions with the same random numbers.
/// Holds a pointer to its decoder, which must outlive it.
template <class Decoder>
class generation {
public:
    /// What one decision is.
    using step_type = typename Decoder::step_type;

    /// Made by a decoder; max_tokens: of each answer.
    generation(Decoder& decoder, std::span<const token_view> prompts, std::size_t max_tokens,
               random_key seed, std::size_t first_index)
        : decoder_{&decoder},
          max_tokens_{max_tokens} {
        for (std::size_t i = 0; i < prompts.size(); ++i)
            answers_.push_back({.sequence = {prompts[i].begin(), prompts[i].end()},
                                .prompt_size = prompts[i].size(),
                                .key = seed.fold_in(first_index + i)});
    }

    /// One more step for every answer that is not done; empty when all are.
    /// The steps stay valid until the next call.
    std::span<const step_type> advance() {
        std::vector<decode_state> states;
        std::vector<std::size_t> active;
        for (std::size_t i = 0; i < answers_.size(); ++i)
            if (!done(i)) {
                active.push_back(i);
                states.push_back(state(answers_[i]));
            }
        std::vector<step_type> steps;
        if (!active.empty()) steps = decoder_->next(states);
        for (std::size_t j = 0; j < active.size(); ++j) {
            steps[j].prompt = active[j];
            record(steps[j], answers_[active[j]]);
        }
        steps_ = std::move(steps);
        return steps_;
    }

    /// How many answers.
    [[nodiscard]] std::size_t size() const noexcept { return answers_.size(); }

    /// The tokens of answer `i` so far, end token left out.
    [[nodiscard]] token_view answer(std::size_t i) const noexcept {
        return token_view{answers_[i].sequence}.subspan(answers_[i].prompt_size);
    }
    /// The prompt of answer `i`.
    [[nodiscard]] token_view prompt(std::size_t i) const noexcept {
        return token_view{answers_[i].sequence}.first(answers_[i].prompt_size);
    }
    /// True if the model ended answer `i` (not the limit).
    [[nodiscard]] bool finished(std::size_t i) const noexcept { return answers_[i].finished; }
    /// True if answer `i` gets no more tokens.
    [[nodiscard]] bool done(std::size_t i) const noexcept {
        return finished(i) || answer(i).size() >= max_tokens_;
    }
    /// What answer `i` has cost so far.
    [[nodiscard]] const model_tokens& spent(std::size_t i) const noexcept {
        return answers_[i].spent;
    }
    /// What all answers have cost so far.
    [[nodiscard]] model_tokens spent() const noexcept {
        model_tokens total;
        for (const progress& answer : answers_) total += answer.spent;
        return total;
    }
    /// How the importance weights behind answer `i` went.
    [[nodiscard]] const weight_summary& weights(std::size_t i) const noexcept {
        return answers_[i].weights;
    }
    /// The same of all answers.
    [[nodiscard]] weight_summary weights() const noexcept {
        weight_summary total;
        for (const progress& answer : answers_) total += answer.weights;
        return total;
    }
    /// Divergence from the policy along answer `i` so far, in nats: the sum of step::kl.
    [[nodiscard]] double kl(std::size_t i) const noexcept { return answers_[i].kl; }

private:
    struct progress {
        token_list sequence;  // prompt and answer
        std::size_t prompt_size = 0;
        random_key key;
        bool finished = false;
        double kl = 0;       // from the policy
        double tilt_kl = 0;  // from what is tilted
        model_tokens spent = {};
        weight_summary weights = {};
    };

    [[nodiscard]] decode_state state(const progress& answer) const {
        const std::size_t emitted = answer.sequence.size() - answer.prompt_size;
        return {.sequence = answer.sequence,
                .prompt_size = answer.prompt_size,
                .tokens_left = max_tokens_ - emitted,
                .end_tokens = decoder_->end_tokens(),
                .key = answer.key.fold_in(emitted),
                .answer_key = answer.key,
                .spent = answer.spent.baseline + answer.spent.reward,
                .kl = answer.tilt_kl};
    }

    static void record(const step_type& step, progress& answer) {
        answer.kl += step.kl;
        answer.tilt_kl += step.tilt_kl();
        answer.spent += step.spent;
        answer.weights += step.weights;
        answer.finished = step.ends;
        const token_view tokens = step.emitted();
        answer.sequence.insert(answer.sequence.end(), tokens.begin(), tokens.end());
    }

    Decoder* decoder_;
    std::size_t max_tokens_;
    std::vector<progress> answers_;
    std::vector<step_type> steps_;  // of the last advance()
};

}  // namespace tq
