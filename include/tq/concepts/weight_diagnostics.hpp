#pragma once
// What is known of the importance weights behind an estimate, and how often they failed.

#include <array>
#include <cstddef>
#include <limits>
#include <string>

#include "../core/names.hpp"

namespace tq {

/// How importance weights enter an estimate.
enum class weighting {
    self_normalised,  ///< sum w r / sum w: exact in the limit; bias of order 1 / n
    plain,  ///< sum w r / n: unbiased, but only if w is the density ratio itself, constant included
    tempered,         ///< the largest power of w that keeps the effective sample size at a floor
    clipped,          ///< w cut at a quantile or a multiple of its mean
    pareto_smoothed,  ///< the tail of w replaced by a fitted one (PSIS); from 25 rollouts on
    /// What the authors' program computes, to be able to replay it: sum exp(log w) r / n with
    /// reference_log_weight. It never falls back. Beware: where rewards are negative it ranks
    /// candidates the wrong way round (a larger weight makes a bad reward worse), and a shift of
    /// both rewards changes the ranking.
    reference,
    /// Weights ignored, except that a rollout of weight 0 is left out (if others are left): the
    /// value of the baseline itself.
    unweighted,
};

/// The words for them.
[[nodiscard]] constexpr auto names_of(weighting) noexcept {
    using enum weighting;
    return std::array<named<weighting>, 7>{{{self_normalised, "self_normalised"},
                                            {plain, "plain"},
                                            {tempered, "tempered"},
                                            {clipped, "clipped"},
                                            {pareto_smoothed, "pareto_smoothed"},
                                            {reference, "reference"},
                                            {unweighted, "unweighted"}}};
}
[[nodiscard]] inline std::string to_string(weighting value) { return word_of(value); }

/// What the weights of one estimate are like, and what was made of them.
struct weight_diagnostics {
    std::size_t positive = 0;  ///< weights that are not 0
    double ess = 0;  ///< effective sample size of the raw weights, (sum w)^2 / sum w^2; 0 to n
    double max_share = 0;  ///< share of the largest raw weight; 0 if all are 0
    /// k-hat of the raw weights; +inf = unknown (fewer than 25), -inf = no tail. See verdict_of.
    double k_hat = std::numeric_limits<double>::infinity();
    weighting used = weighting::unweighted;  ///< what the estimate rests on in the end
    double power = 1;        ///< exponent of the weights: 1 = as they are, 0 = unweighted
    bool collapsed = false;  ///< the limits of weight_options were missed
    bool refused = false;    ///< there is no estimate: q = -inf
};

/// How the weighted estimates of a step, or of an answer, went.
struct weight_summary {
    std::size_t estimates = 0;   ///< that rest on importance weights
    std::size_t collapsed = 0;   ///< of them: the limits of weight_options were missed
    std::size_t unweighted = 0;  ///< of them: the weights were not used in the end
    std::size_t refused = 0;     ///< of them: there is no estimate, the candidate cannot be chosen

    /// Counts one estimate.
    constexpr void add(const weight_diagnostics& weights) noexcept {
        ++estimates;
        collapsed += weights.collapsed;
        unweighted += !weights.refused && weights.used == weighting::unweighted;
        refused += weights.refused;
    }
    /// Adds field by field.
    constexpr weight_summary& operator+=(const weight_summary& other) noexcept {
        estimates += other.estimates;
        collapsed += other.collapsed;
        unweighted += other.unweighted;
        refused += other.refused;
        return *this;
    }
    friend constexpr bool operator==(const weight_summary&, const weight_summary&) = default;
};

}  // namespace tq
