#pragma once
// How far and how often a baseline looks ahead.

#include <cstddef>

#include "../core/error.hpp"
#include "../core/trajectory.hpp"

namespace tq {

/// Throws invalid_option unless the rule is in range.
inline void validate(const sampling_rule& rule, std::string_view where) {
    check_option(rule.temperature == 0 || (rule.temperature >= 1e-3 && rule.temperature <= 1e3),
                 where, "temperature", rule.temperature, "0 (greedy) or in [0.001, 1000]");
    check_option(rule.top_p > 0 && rule.top_p <= 1, where, "top_p", rule.top_p, "in (0, 1]");
}

/// Throws invalid_option unless rollouts drawn by the rule have a probability, for importance
/// weights.
inline void validate_weighable(const sampling_rule& rule, std::string_view where) {
    check_option(!rule.greedy(), where, "temperature", rule.temperature,
                 "> 0 for importance weights: greedy rollouts have no probability");
    check_option(rule.top_p == 1, where, "top_p", rule.top_p,
                 "1 for importance weights: what is cut off would have none");
}

/// Options of a look-ahead.
struct rollout_options {
    /// Tokens of a rollout after the candidate, at most; [0, inf). 0 = none: the candidate is
    /// judged as it stands (ARGS). A rollout never runs past what is left of the answer, whatever
    /// this
    /// says: text that is never delivered must not earn reward.
    std::size_t horizon = 32;

    /// Rollouts per candidate; [1, inf). Cost grows linearly, the error of Q falls as 1/sqrt.
    /// Greedy rollouts are all alike, so they allow 1 only.
    std::size_t rollouts = 1;

    /// How the baseline's tokens are drawn. Greedy (temperature 0): no noise, but Q is that of the
    /// greedy baseline. Temperature 1: an unbiased estimate of the baseline's expected reward.
    sampling_rule sampling = {.temperature = 0.0, .top_p = 1.0};

    /// Rollouts in flight at most, of all candidates and prompts together; 0 = what the baseline
    /// likes (its max_batch()). Results do not depend on it.
    std::size_t in_flight = 0;

    /// Greedy rollouts are determined by their prefix: they are remembered and extended instead of
    /// computed again. The rollouts are the same; false = no-op. Sampled ones are always fresh: a
    /// remainder kept because its reward won is no fair sample any more.
    bool reuse = true;
};

/// Throws invalid_option unless every field is in range.
inline void validate(const rollout_options& options, std::string_view where) {
    validate(options.sampling, where);
    check_option(options.rollouts >= 1, where, "rollouts", options.rollouts, ">= 1");
    check_option(options.rollouts == 1 || !options.sampling.greedy(), where, "rollouts",
                 options.rollouts, "1 when the rollouts are greedy (temperature 0): all are alike");
}

}  // namespace tq
