#pragma once
// Picking a token from a tilted distribution.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "../core/random.hpp"
#include "options.hpp"
#include "step.hpp"

namespace tq {

/// The noise that turns an argmax into a draw: standard Gumbel, keyed by the token; 0 for the mode.
[[nodiscard]] inline double selection_noise(tq::selection rule, random_key key,
                                            token_id token) noexcept {
    return rule == selection::sample ? key.gumbel(static_cast<std::uint64_t>(token)) : 0.0;
}

/// Index of the picked entry; there must be one. `label(i)` is what entry i's noise is keyed by.
/// Ties go to the entry that comes first.
template <class Label>
[[nodiscard]] std::size_t select(std::span<const double> log_p, Label label, tq::selection rule,
                                 random_key key) noexcept {
    std::size_t best = 0;
    double best_score = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < log_p.size(); ++i) {
        const double score = log_p[i] + selection_noise(rule, key, label(i));
        if (score > best_score) {
            best_score = score;
            best = i;
        }
    }
    return best;
}

/// Index of the picked candidate; the distribution must not be empty.
///
/// Sampling is the argmax of log p(z) + g(z) with Gumbel noise keyed by the *token*: two
/// distributions at the same key that differ little pick the same token, whatever else is among
/// their candidates. Ties go to the candidate that comes first (the larger prior).
[[nodiscard]] inline std::size_t select(const tilted_distribution& distribution, tq::selection rule,
                                        random_key key) noexcept {
    const auto token = [&](std::size_t i) { return distribution.tokens[i]; };
    return select(distribution.log_p, token, rule, key);
}

}  // namespace tq
