#pragma once
// Importance weights of rollouts, as logarithms: how much likelier the optimum of the reward would
// have been to write a continuation than the baseline that wrote it.
//
// tau is a continuation of u = [s, z], rho its law under a model, all conditional on u. The optimum
// of E[r] - beta KL(rho || rho_pi) is rho_r(tau) ∝ rho_pi(tau) exp(r / beta); the weights below are
// log(rho_r / rho_BL) up to a constant that is the same for every tau of one u, and only for those:
// normalise per candidate. Source: arXiv 2405.20495, indirect transfer.

#include <cmath>
#include <limits>
#include <span>

namespace tq {

namespace detail {

/// a - b of two log-probabilities or scaled rewards. An infinite a decides alone: what the target
/// never does has weight 0 whoever drew it.
[[nodiscard]] inline double log_ratio(double a, double b) noexcept {
    return std::isinf(a) ? a : a - b;
}

}  // namespace detail

/// log w of a baseline that is the optimum of another reward r_BL at its own beta_BL:
///
///     log w = r / beta - r_BL / beta_BL
///
/// Exact only if the baseline is that optimum; with a baseline that is merely near it, or a wrong
/// beta_BL, Q is off by a good part of the reward's range. If token log-probabilities are at hand,
/// use implicit_log_weight, which is exact for any baseline.
///
/// range: beta, base_beta in (0, inf)
/// edges: reward = -inf -> -inf (weight 0), whatever the rest; base_reward = -inf -> +inf
[[nodiscard]] inline double explicit_log_weight(double reward, double base_reward, double beta,
                                                double base_beta) noexcept {
    return detail::log_ratio(reward / beta, base_reward / base_beta);
}

/// log w from the implicit reward of the baseline:
///
///     log w = log rho_pi(tau | u) - log rho_BL(tau | u) + r / beta
///
/// Exact for any baseline that can write whatever the policy can. The sums run over the tokens of
/// the continuation, end token included, z left out; log rho_BL is that of the law the rollouts
/// were *drawn* from (at its temperature and top_p), or balance_log_probability of several. With
/// base = policy (or both 0) this is r / beta: rollouts of the policy itself. The spread of log w
/// grows with the number of tokens: at a standard deviation of 0.25 per token 29 % of the rollouts
/// count at 20 tokens and 8 % at 40.
///
/// range: beta in (0, inf); log-probabilities in [-inf, 0]
/// edges: log_policy = -inf or reward = -inf -> -inf (weight 0); otherwise log_base = -inf -> +inf
///        (such a tau cannot have been drawn)
[[nodiscard]] inline double implicit_log_weight(double log_policy, double log_base, double reward,
                                                double beta) noexcept {
    if (log_policy == -std::numeric_limits<double>::infinity()) return log_policy;
    return detail::log_ratio(reward / beta, log_base - log_policy);
}

/// The weight of the authors' program, for weighting::reference: log w = (r - r_BL) / 2.
[[nodiscard]] inline double reference_log_weight(double reward, double base_reward) noexcept {
    return 0.5 * (reward - base_reward);
}

/// log of the probability that rollouts drawn from several baselines in fixed shares write tau:
///
///     log sum_j share_j rho_j(tau | u)
///
/// As log_base of implicit_log_weight it makes all rollouts, whoever wrote them, draws of one
/// mixture (the balance heuristic); one baseline with share 1 is the special case. With the policy
/// itself as a component of share a, no ratio rho_pi / rho exceeds 1 / a.
/// Source: Veach and Guibas, "Optimally combining sampling techniques for Monte Carlo rendering",
/// SIGGRAPH 1995; Owen and Zhou, "Safe and effective importance sampling", JASA 2000 (defensive).
///
/// shapes: log_probabilities, shares [components], of the same tau; shares n_j / n >= 0, sum 1
/// edges:  a component with share 0 is not read; no component, or all -inf -> -inf
/// cost:   O(components); no allocation
[[nodiscard]] inline double balance_log_probability(std::span<const double> log_probabilities,
                                                    std::span<const double> shares) noexcept {
    double top = -std::numeric_limits<double>::infinity();
    for (std::size_t j = 0; j < shares.size(); ++j)
        if (shares[j] > 0 && log_probabilities[j] > top) top = log_probabilities[j];
    if (std::isinf(top)) return top;
    double sum = 0;
    for (std::size_t j = 0; j < shares.size(); ++j)
        if (shares[j] > 0) sum += shares[j] * std::exp(log_probabilities[j] - top);
    return top + std::log(sum);
}

}  // namespace tq
