#pragma once
// The unit of cost: tokens that a model had to read.

#include <cstddef>

namespace tq {

/// Model tokens: how many tokens each model had to read, every shared prefix counted once and what
/// is remembered not at all; what look-ahead must catch up on after steps without it included. An
/// engine that caches prefixes decodes no more than this, besides the prompt, which each model
/// reads once.
struct model_tokens {
    std::size_t policy = 0;    ///< the policy, and the anchor if that is another model
    std::size_t baseline = 0;  ///< rollouts
    std::size_t reward = 0;    ///< judging them

    /// Of all models.
    [[nodiscard]] constexpr std::size_t total() const noexcept {
        return policy + baseline + reward;
    }
    /// Adds field by field.
    constexpr model_tokens& operator+=(const model_tokens& other) noexcept {
        policy += other.policy;
        baseline += other.baseline;
        reward += other.reward;
        return *this;
    }
    friend constexpr bool operator==(const model_tokens&, const model_tokens&) = default;
};

}  // namespace tq
