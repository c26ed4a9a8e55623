#pragma once
// How likely a model is to write what was written.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "../concepts/policy.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "../kernels/log_sum_exp.hpp"

namespace tq {

/// log P of some tokens together under softmax(row / temperature): of one token, or of all end
/// tokens.
///
/// edges: no tokens, or only some outside the row -> -inf; a row that holds NaN or forbids every
///        token -> NaN
/// range: temperature in (0, inf); tokens distinct
[[nodiscard]] inline double log_probability_of(logits_view row, token_view tokens,
                                               double temperature) noexcept {
    const auto logit = [&](token_id token) {
        return is_token(token, row.size())
                   ? static_cast<double>(row[static_cast<std::size_t>(token)]) / temperature
                   : -std::numeric_limits<double>::infinity();
    };
    double top = -std::numeric_limits<double>::infinity();
    for (const token_id token : tokens) top = (std::max)(top, logit(token));
    const double log_partition = log_sum_exp(row, temperature);
    if (!std::isfinite(log_partition)) return std::numeric_limits<double>::quiet_NaN();
    if (std::isinf(top)) return top;
    double sum = 0;
    for (const token_id token : tokens) sum += std::exp(logit(token) - top);
    return top + std::log(sum) - log_partition;
}

/// A continuation that somebody wrote.
struct continuation_view {
    token_view sequence;    ///< everything, from the prompt on; the end token left out
    std::size_t start = 0;  ///< where the continuation begins; >= 1
    bool finished = false;  ///< an end token came after it
    /// What ends an answer.
    token_view end_tokens;

    /// Rows of logits that its probability takes.
    [[nodiscard]] std::size_t rows() const noexcept {
        return sequence.size() - start + (finished ? 1 : 0);
    }
};

namespace detail {
/// Throws backend_error for a token outside a vocabulary of `size`.
inline void expect_tokens(token_view tokens, std::size_t size) {
    for (const token_id token : tokens)
        if (!is_token(token, size))
            throw backend_error{"log_probabilities: token " + std::to_string(token) +
                                " of a continuation, must be in [0, " + std::to_string(size) + ")"};
}
}  // namespace detail

/// log rho(tau | u) of continuations under a model at a temperature, whoever wrote them: the sum of
/// the log-probabilities of their tokens, the end (all end tokens together) included.
///
/// All prefixes of a continuation go to the model in one call or few, each of them once: an adapter
/// with a prefix cache reads a continuation at the speed of a prompt.
///
/// returns: [n]; 0 for a continuation of no tokens that is not finished; -inf where the model
///          forbids a token
/// range:   temperature in (0, inf)
/// errors:  backend_error for rows that hold NaN or forbid every token, and for tokens that the
///          model does not have; what the model throws
template <policy Model>
[[nodiscard]] std::vector<double> log_probabilities(
    Model& model, std::span<const continuation_view> continuations, double temperature = 1.0) {
    struct place {
        std::size_t continuation;
        std::size_t position;
    };
    std::vector<place> places;
    for (const continuation_view& one : continuations) {
        detail::expect_tokens(one.sequence.subspan(one.start), vocab_size_of(model));
        if (one.finished) detail::expect_tokens(one.end_tokens, vocab_size_of(model));
    }
    for (std::size_t i = 0; i < continuations.size(); ++i)
        for (std::size_t n = 0; n < continuations[i].rows(); ++n)
            places.push_back({i, continuations[i].start + n});

    std::vector<double> result(continuations.size(), 0.0);
    std::vector<token_view> prefixes;
    const std::size_t batch = max_batch_of(model);
    for (std::size_t begin = 0; begin < places.size(); begin += batch) {
        const std::span<const place> part =
            std::span{places}.subspan(begin, (std::min)(batch, places.size() - begin));
        prefixes.clear();
        for (const auto& [i, position] : part)
            prefixes.push_back(continuations[i].sequence.first(position));
        const std::span<const logits_view> rows = logits_of(model, prefixes);
        for (std::size_t n = 0; n < part.size(); ++n) {
            const auto& [i, position] = part[n];
            const continuation_view& whole = continuations[i];
            const bool ends = position == whole.sequence.size();
            const double value = log_probability_of(
                rows[n], ends ? whole.end_tokens : whole.sequence.subspan(position, 1),
                temperature);
            if (std::isnan(value))
                throw backend_error{"log_probabilities: the model's logits at position " +
                                    std::to_string(position) +
                                    " hold NaN or infinity, or forbid every token"};
            result[i] += value;
        }
    }
    return result;
}

}  // namespace tq
