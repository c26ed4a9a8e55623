#pragma once
// Perplexity of texts under a model.

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "../core/trajectory.hpp"
#include "../rollout/log_probability.hpp"

namespace tq {

/// exp(-mean log pi(token | everything before)) over the tokens of each answer: how many equally
/// likely tokens the model hesitated between. The end token is not counted; an answer of no tokens
/// has none: NaN; inf if the model forbids a token.
///
/// shapes: answers [n]; returns [n]
/// errors: backend_error for rows that hold NaN or forbid every token; what the model throws
/// cost:   one row of logits per token, in the model's batches
template <policy Model>
[[nodiscard]] std::vector<double> perplexity(Model& model, std::span<const answer_view> answers) {
    std::vector<token_list> sequences;
    for (const answer_view& answer : answers) {
        sequences.emplace_back(answer.prompt.begin(), answer.prompt.end());
        sequences.back().insert(sequences.back().end(), answer.answer.begin(), answer.answer.end());
    }
    std::vector<continuation_view> texts;
    for (std::size_t i = 0; i < answers.size(); ++i)
        texts.push_back({.sequence = sequences[i],
                         .start = answers[i].prompt.size(),
                         .finished = false,
                         .end_tokens = {}});
    std::vector<double> values = log_probabilities(model, texts);
    for (std::size_t i = 0; i < answers.size(); ++i)
        values[i] = answers[i].answer.empty()
                        ? std::numeric_limits<double>::quiet_NaN()
                        : std::exp(-values[i] / static_cast<double>(answers[i].answer.size()));
    return values;
}

}  // namespace tq
