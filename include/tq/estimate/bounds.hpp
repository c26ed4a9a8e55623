#pragma once
// What can be said about a decoder before it runs, from alpha, beta, the horizon and the reward's
// range.
//
// T is the number of tokens of an answer at most, width = r_max - r_min: a shift of the reward
// changes no policy, so only the range counts. Divergences are over whole answers, in nats, to the
// frozen policy; Q is the exact value under a baseline (direct, indirect or of the policy itself).
// The bounds are of tilts over the whole vocabulary: a cut to top_k adds -log(mass of candidates)
// in every step, which no alpha bounds.
// The terms of the sub-optimality bound need the models: see tabular/gap.hpp.

#include <algorithm>
#include <cstddef>

namespace tq {

/// KL(decoder || policy) if the *policy* is tilted: min(T width / alpha, T width^2 / (8 alpha^2)).
///
/// Each of T steps tilts by a Q of that range; the second form is Hoeffding's lemma, sharper for
/// alpha > width / 8. Without the factor T neither holds.
/// Source: arXiv 2405.20495, theorem 1 (2), whose (1 / beta + T / alpha) r_max is looser here.
/// range: alpha in (0, inf], width in [0, inf)
[[nodiscard]] inline double policy_anchor_kl_bound(double alpha, std::size_t tokens,
                                                   double width) noexcept {
    const double tilt = width / alpha;
    return static_cast<double>(tokens) * (std::min)(tilt, tilt * tilt / 8);
}

/// KL(rho_r || policy) of a baseline aligned to a reward of this width: min(width / beta, width^2 /
/// (8 beta^2)). range: beta in (0, inf], width in [0, inf)
[[nodiscard]] inline double aligned_kl_bound(double beta, double width) noexcept {
    return policy_anchor_kl_bound(beta, 1, width);
}

/// KL(decoder || policy) if the *baseline* is tilted: (1 / beta + T / alpha) width, the baseline
/// being aligned at beta to a reward of this width. T width / alpha alone does not hold.
/// Source: arXiv 2405.20495, theorem 1 (2). range: alpha, beta in (0, inf], width in [0, inf)
[[nodiscard]] inline double baseline_anchor_kl_bound(double alpha, double beta, std::size_t tokens,
                                                     double width) noexcept {
    return width / beta + static_cast<double>(tokens) * width / alpha;
}

}  // namespace tq
