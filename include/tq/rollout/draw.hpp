#pragma once
// How a rollout's next token is drawn.

#include <cstddef>

#include "../core/random.hpp"
#include "../core/trajectory.hpp"
#include "../kernels/gumbel.hpp"
#include "../kernels/sample.hpp"

namespace tq {

/// Draws the token at a position from a row of logits, by one rule. A pure function of the row, the
/// key and the position.
class token_draw {
public:
    /// The rule is not checked here.
    explicit token_draw(sampling_rule rule) noexcept : rule_{rule}, sampler_{rule} {}

    /// As given.
    [[nodiscard]] const sampling_rule& rule() const noexcept { return rule_; }

    /// no_token if the row holds NaN or forbids every token.
    [[nodiscard]] token_id operator()(logits_view row, random_key key, std::size_t position) {
        if (rule_.gumbel && !rule_.greedy())
            return gumbel_argmax(row, gumbel_field{key.fold_in(position)}, rule_.temperature);
        return sampler_(row, key.uniform(position));
    }

private:
    sampling_rule rule_;
    row_sampler sampler_;
};

}  // namespace tq
