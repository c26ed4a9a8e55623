#pragma once
// The sub-optimality gap of a decoder, exactly, and the published bound in the reading that holds.

#include "enumerate.hpp"

namespace tq::tabular {

/// What the gap E[r under the best answers] - E[r under the decoder] is made of. Divergences in
/// nats; A, B and C are sums over the states that the *decoder* visits.
struct gap_terms {
    double gap = 0;              ///< of the expected rewards
    double best_policy = 0;      ///< KL(rho* || rho_pi), rho* the reward's maximiser
    double best_baseline = 0;    ///< KL(rho* || rho_BL)
    double baseline_policy = 0;  ///< KL(rho_BL || rho_pi)
    double decoder_policy = 0;   ///< A: of pi_alg to pi, which is KL(rho_alg || rho_pi)
    double step_baseline = 0;    ///< B: of pi_BL to pi
    double step_decoder = 0;     ///< C: of pi_BL to pi_alg

    /// h = A - B. It may be negative: read as a plain divergence (h = A), the bound is false.
    [[nodiscard]] double h() const noexcept { return decoder_policy - step_baseline; }

    /// The gap itself, if `baseline` is the optimum of r at beta and the policy is tilted by its
    /// value: beta [KL(rho* || rho_pi) - KL(rho* || rho_BL) - KL(rho_BL || rho_pi)] + alpha [B - A
    /// - C].
    [[nodiscard]] double identity(double alpha, double beta) const noexcept {
        return beta * (best_policy - best_baseline - baseline_policy) -
               alpha * (h() + step_decoder);
    }

    /// The published bound on the gap: beta KL(rho* || rho_pi) - alpha h.
    /// Source: arXiv 2405.20495, theorem 1 (1).
    [[nodiscard]] double bound(double alpha, double beta) const noexcept {
        return beta * best_policy - alpha * h();
    }

    /// Sharper: keeps - beta KL(rho_BL || rho_pi) as well.
    [[nodiscard]] double sharp_bound(double alpha, double beta) const noexcept {
        return bound(alpha, beta) - beta * baseline_policy;
    }
};

/// The terms by enumeration. For indirect transfer `baseline` is rho_r, the optimum that its
/// weights stand for. Of several best answers the one that `greedy` takes is rho*.
[[nodiscard]] inline gap_terms gap_of(const tree& world, const log_policy& pi,
                                      const log_policy& baseline, const log_policy& decoder,
                                      const node_values& rewards) {
    const log_policy best = greedy(world, maximum(world, rewards));
    const node_id root = tree::root();
    return {
        .gap = expectation(world, best, rewards)[root] - expectation(world, decoder, rewards)[root],
        .best_policy = answer_kl(world, best, pi),
        .best_baseline = answer_kl(world, best, baseline),
        .baseline_policy = answer_kl(world, baseline, pi),
        .decoder_policy = answer_kl(world, decoder, pi),
        .step_baseline = path_kl(world, decoder, baseline, pi),
        .step_decoder = path_kl(world, decoder, baseline, decoder)};
}

/// What is missing to the optimum of E[r] - beta KL(. || pi): beta KL(decoder || rho_r), exactly. 0
/// for soft transfer with alpha = beta and exact values, positive for the hard expectation.
[[nodiscard]] inline double regularised_gap(const tree& world, const log_policy& pi,
                                            const log_policy& decoder, const node_values& rewards,
                                            double beta) {
    return beta * answer_kl(world, decoder, aligned(world, pi, rewards, beta));
}

}  // namespace tq::tabular
