#pragma once
// Picking a token from a tilted distribution.

#include <cstddef>
#include <limits>
#include <optional>
#include <span>

#include "../core/random.hpp"
#include "../kernels/gumbel.hpp"
#include "options.hpp"
#include "step.hpp"

namespace tq {

/// The noise that turns an argmax into a draw: standard Gumbel for each token; nothing for the
/// mode.
class selection_noise {
public:
    /// Noise for one decision; none for argmax.
    selection_noise(tq::selection rule, random_key key) noexcept {
        if (rule == selection::sample) field_.emplace(key);
    }
    /// The noise of one token.
    [[nodiscard]] double operator()(token_id token) const noexcept {
        return field_ ? (*field_)(token) : 0.0;
    }
    /// Null for the mode.
    [[nodiscard]] const gumbel_field* field() const noexcept { return field_ ? &*field_ : nullptr; }

private:
    std::optional<gumbel_field> field_;
};

/// Index of the picked entry; there must be one. `label(i)` is the token that entry i's noise
/// belongs to. Ties go to the entry that comes first.
template <class Label>
[[nodiscard]] std::size_t select(std::span<const double> log_p, Label label, tq::selection rule,
                                 random_key key) noexcept {
    const selection_noise noise{rule, key};
    std::size_t best = 0;
    double best_score = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < log_p.size(); ++i) {
        const double score = log_p[i] + noise(label(i));
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
