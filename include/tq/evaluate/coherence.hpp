#pragma once
// Coherence: does an answer speak of what the prompt asked?

#include <concepts>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../kernels/projection.hpp"

namespace tq {

/// Turns texts into vectors: `embed(texts)` returns one vector per text, in order, all of one size.
template <class Embedder>
concept sentence_embedder = requires(Embedder& embedder, std::span<const std::string> texts) {
    { embedder.embed(texts) } -> std::convertible_to<std::vector<std::vector<float>>>;
};

/// The cosine of the angle between two vectors, in [-1, 1]; NaN if one of them is 0.
/// shapes: a, b [n], n >= 1. Throws invalid_option otherwise.
[[nodiscard]] inline double cosine_similarity(std::span<const float> a, std::span<const float> b) {
    check_option(!a.empty() && a.size() == b.size(), "cosine_similarity", "b.size()", b.size(),
                 "a.size() = " + std::to_string(a.size()) + ", and not 0");
    return cosine(a, b);
}

/// Coherence of answers: the cosine similarity of the sentence embeddings of prompt and answer.
///
/// ARGS (arXiv 2402.01694) and TQ* (arXiv 2405.20495) compute it with SimCSE; figures of different
/// embedders do not compare. An answer of nothing but white space has none: NaN.
/// shapes: prompts, answers [n]. Throws invalid_option if they differ, backend_error if the
///         embedder returns another number of vectors.
template <sentence_embedder Embedder>
[[nodiscard]] std::vector<double> coherence(Embedder& embedder,
                                            std::span<const std::string> prompts,
                                            std::span<const std::string> answers) {
    check_option(prompts.size() == answers.size(), "coherence", "answers.size()", answers.size(),
                 "prompts.size() = " + std::to_string(prompts.size()));
    const std::vector<std::vector<float>> a = embedder.embed(prompts), b = embedder.embed(answers);
    if (a.size() != prompts.size() || b.size() != prompts.size())
        throw backend_error{"coherence: the embedder returned " + std::to_string(a.size()) +
                            " and " + std::to_string(b.size()) + " vectors for " +
                            std::to_string(prompts.size()) + " texts"};
    std::vector<double> result;
    for (std::size_t i = 0; i < a.size(); ++i)
        result.push_back(answers[i].find_first_not_of(" \t\r\n") == std::string::npos
                             ? std::numeric_limits<double>::quiet_NaN()
                             : cosine_similarity(a[i], b[i]));
    return result;
}

}  // namespace tq
