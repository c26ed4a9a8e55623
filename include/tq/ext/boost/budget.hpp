#pragma once
// alpha from a budget of divergence. Needs Boost.Math's headers (Debian: libboost-math-dev); no library
// is linked, and nothing else in tq includes this file.

#include <algorithm>
#include <boost/math/tools/toms748_solve.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "../../core/error.hpp"
#include "../../kernels/tilt.hpp"

namespace tq {

/// The alpha at which kl(alpha) = budget, for a divergence that does not grow with alpha: of one state,
/// or summed over fixed states. (That of whole answers need not be monotone: don't ask for it.)
///
/// The upper end of the bracket is where Hoeffding's lemma says kl <= states width^2 / (8 alpha^2) =
/// budget; the lower one is searched downwards.
/// Source: Alefeld, Potra and Shi, "Algorithm 748", ACM TOMS 1995, as in Boost.Math.
///
/// range:   budget >= 0; width = range of Q, finite, >= 0; states >= 1. Throws invalid_option otherwise.
/// returns: alpha with kl(alpha) = budget to 12 digits of alpha, never above the budget by more than
///          that allows; +inf if budget = 0 or width = 0 (no tilt); 0 if no alpha above width / 1e12
///          reaches the budget: take the argmax
/// cost:    some 10 to 60 calls of kl
template <class Divergence>
[[nodiscard]] double alpha_for_budget(Divergence kl, double budget, double width,
                                      std::size_t states = 1) {
    check_option(budget >= 0, "alpha_for_budget", "budget", budget, ">= 0");
    check_option(width >= 0 && std::isfinite(width), "alpha_for_budget", "width", width,
                 "in [0, inf)");
    check_option(states >= 1, "alpha_for_budget", "states", states, ">= 1");
    if (budget == 0 || width == 0) return std::numeric_limits<double>::infinity();
    if (std::isinf(budget)) return 0;
    const auto excess = [&](double log_alpha) { return kl(std::exp(log_alpha)) - budget; };
    double high = std::log(width) + 0.5 * std::log(static_cast<double>(states) / (8 * budget));
    const double lowest = std::log(width) - std::log(1e12);
    double low = std::min(high, std::log(width));
    while (low > lowest && excess(low) < 0) low -= 1;
    if (excess(low) < 0) return 0;
    while (excess(high) > 0) high += 1;  // rounding only
    if (excess(low) == 0) return std::exp(low);
    if (excess(high) == 0) return std::exp(high);
    std::uintmax_t calls = 60;
    const auto root = boost::math::tools::toms748_solve(
        excess, low, high, boost::math::tools::eps_tolerance<double>(42), calls);
    return std::exp(root.second);  // the side where the budget is kept
}

/// The alpha at which KL(pi exp(Q / alpha) / Z || pi) of one state is `budget` nats.
/// shapes: log_pi, q [n] as of tilt, Q finite. See alpha_for_budget.
[[nodiscard]] inline double alpha_for_budget(std::span<const double> log_pi,
                                             std::span<const double> q, double budget) {
    check_option(!q.empty() && q.size() == log_pi.size(), "alpha_for_budget", "q.size()", q.size(),
                 "log_pi.size(), and not 0");
    std::vector<double> log_p(q.size());
    const auto kl = [&](double alpha) {
        tilt(log_pi, q, alpha, log_p);
        return kl_divergence(log_p, log_pi);
    };
    const auto [lo, hi] = std::ranges::minmax(q);
    return alpha_for_budget(kl, budget, hi - lo);
}

}  // namespace tq
