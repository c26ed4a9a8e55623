#pragma once
// Answers in the making, for one or many prompts and any way of decoding.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/decoder.hpp"
#include "../concepts/policy.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "prompt.hpp"
#include "stream.hpp"

namespace tq {

/// The answers of a batch of prompts while they are decoded together. Prompts may come and go while
/// it
/// runs: add() and cancel() between two advance().
///
/// Nothing is lost on an error: if advance() throws, every answer is as it was before the call, and
/// calling it again retries the same decisions with the same random numbers.
/// Holds a pointer to its decoder, which must outlive it.
template <class Decoder>
class generation {
public:
    /// What one decision is.
    using step_type = typename Decoder::step_type;

    /// No prompt yet.
    explicit generation(Decoder& decoder) : decoder_{&decoder} {
        static_assert(decoding_method<Decoder>,
                      "tq: a decoder needs next(states), end_tokens() and "
                      "step_type; see concepts/decoder.hpp");
    }

    /// One more answer; returns its index, the number of add() before. The answer goes on from
    /// request.sequence, of which prompt_size tokens are the prompt (0 = all); its random numbers
    /// are those of request.key; it ends at request.end_tokens, or the decoder's if that is empty.
    /// Prompts are not checked here: see generates::generate_all.
    std::size_t add(const rollout_request& request) {
        answers_.push_back(
            {.sequence = {request.sequence.begin(), request.sequence.end()},
             .prompt_size = request.prompt_size ? request.prompt_size : request.sequence.size(),
             .start = request.sequence.size(),
             .max_tokens = request.max_tokens,
             .end_tokens = {request.end_tokens.begin(), request.end_tokens.end()},
             .key = request.key});
        return answers_.size() - 1;
    }

    /// Answer `i` gets no more tokens; what it has stays.
    void cancel(std::size_t i) noexcept { answers_[i].cancelled = true; }

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
        return finished(i) || answers_[i].cancelled ||
               answers_[i].emitted() >= answers_[i].max_tokens;
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
    /// The same from what is tilted, the anchor: what kl_per_answer keeps to.
    [[nodiscard]] double tilt_kl(std::size_t i) const noexcept { return answers_[i].tilt_kl; }

    /// What saves nothing or changes nothing, in words: once for all answers; empty = nothing.
    [[nodiscard]] std::vector<std::string> notes() const {
        if constexpr (requires { decoder_->notes(); })
            return decoder_->notes();
        else
            return {};
    }

private:
    struct progress {
        token_list sequence;  // prompt and answer
        std::size_t prompt_size = 0;
        std::size_t start = 0;  // where what is decoded here begins
        std::size_t max_tokens = 0;
        token_list end_tokens;
        random_key key;
        bool finished = false;
        bool cancelled = false;
        double kl = 0;       // from the policy
        double tilt_kl = 0;  // from what is tilted
        model_tokens spent = {};
        std::size_t unread = 0;  // by look-ahead
        weight_summary weights = {};

        [[nodiscard]] std::size_t emitted() const noexcept { return sequence.size() - start; }
    };

    [[nodiscard]] decode_state state(const progress& answer) const {
        const std::size_t emitted = answer.emitted();
        return {.sequence = answer.sequence,
                .prompt_size = answer.prompt_size,
                .tokens_left = answer.max_tokens - emitted,
                .end_tokens = answer.end_tokens.empty() ? token_view{decoder_->end_tokens()}
                                                        : token_view{answer.end_tokens},
                .key = answer.key.fold_in(emitted),
                .spent = answer.spent.baseline + answer.spent.reward,
                .unread = answer.unread,
                .kl = answer.tilt_kl};
    }

    static void record(const step_type& step, progress& answer) {
        answer.kl += step.kl;
        answer.tilt_kl += step.tilt_kl();
        answer.spent += step.spent;
        if constexpr (requires { step.unread(answer.unread); })
            answer.unread = step.unread(answer.unread);
        answer.weights += step.weights;
        answer.finished = step.ends;
        const token_view tokens = step.emitted();
        answer.sequence.insert(answer.sequence.end(), tokens.begin(), tokens.end());
    }

    Decoder* decoder_;
    std::vector<progress> answers_;
    std::vector<step_type> steps_;  // of the last advance()
};

/// Gives a decoding_method its generate and generate_all, by inheriting from generates<itself>. It
/// has, besides, `vocab_size()` and `options().seed`. A generation refers to its decoder, so a
/// temporary one has none.
template <class Decoder>
class generates {
public:
    /// A lazy input range of steps; each increment computes one step, `break` cancels.
    /// `index` tells the prompts of one seed apart: it is part of every random number's key.
    /// Throws invalid_option if the prompt is empty or holds a token outside the vocabulary.
    [[nodiscard]] auto generate(token_view prompt, std::size_t max_tokens,
                                std::size_t index = 0) & {
        return token_stream<generation<Decoder>>{start({&prompt, 1}, max_tokens, index)};
    }

    /// Many prompts, advanced together: one more step each per advance(). Prompt i gets the answer
    /// that generate(prompts[i], max_tokens, first_index + i) would give.
    [[nodiscard]] generation<Decoder> generate_all(std::span<const token_list> prompts,
                                                   std::size_t max_tokens,
                                                   std::size_t first_index = 0) & {
        const std::vector<token_view> views(prompts.begin(), prompts.end());
        return start(views, max_tokens, first_index);
    }

    /// Fails to compile: the stream would refer to a decoder that is gone.
    template <class Nothing = void>
    void generate(token_view, std::size_t, std::size_t = 0) && {
        static_assert(kept<Nothing>,
                      "tq: keep the decoder in a variable: what it generates refers to it");
    }
    /// Fails to compile: the generation would refer to a decoder that is gone.
    template <class Nothing = void>
    void generate_all(std::span<const token_list>, std::size_t, std::size_t = 0) && {
        static_assert(kept<Nothing>,
                      "tq: keep the decoder in a variable: what it generates refers to it");
    }

private:
    template <class>
    static constexpr bool kept = false;

    [[nodiscard]] generation<Decoder> start(std::span<const token_view> prompts,
                                            std::size_t max_tokens, std::size_t first_index) {
        auto& self = static_cast<Decoder&>(*this);
        generation<Decoder> result{self};
        for (std::size_t i = 0; i < prompts.size(); ++i) {
            check_prompt(prompts[i], self.vocab_size(), "decoder: prompt " + std::to_string(i));
            result.add({.sequence = prompts[i],
                        .max_tokens = max_tokens,
                        .end_tokens = {},
                        .key = random_key{self.options().seed}.fold_in(first_index + i)});
        }
        return result;
    }
};

}  // namespace tq
