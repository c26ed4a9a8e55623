#pragma once
// alpha from a budget of divergence.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "../core/bisect.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "../kernels/tilt.hpp"
#include "step.hpp"

namespace tq {

/// The alpha at which kl(alpha) = budget, for a divergence that does not grow with alpha: of one
/// state, or summed over fixed states. (That of whole answers need not be monotone: don't ask for
/// it.)
///
/// The upper end of the bracket is where Hoeffding's lemma says kl <= states width^2 / (8 alpha^2)
/// = budget; the lower one is searched downwards. Between them, bisection of log alpha.
///
/// range:   budget >= 0; width = range of Q, finite, >= 0; states >= 1. Throws invalid_option
///          otherwise.
/// returns: alpha with kl(alpha) = budget to 12 digits of alpha, never above the budget by more
///          than that allows; +inf if budget = 0 or width = 0 (no tilt); 0 if no alpha above width
///          / 1e12 reaches the budget: take the argmax
/// cost:    50 to 80 calls of kl
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
    double low = (std::min)(high, std::log(width));
    while (low > lowest && excess(low) < 0) low -= 1;
    if (excess(low) < 0) return 0;
    while (excess(high) > 0) high += 1;  // rounding only
    const auto over = [&](double log_alpha) { return excess(log_alpha) > 0; };
    return std::exp(detail::bisect(low, high, 45, over).no);  // the side where the budget is kept
}

namespace detail {

/// The tilt of some candidates, whose prior need not sum to 1: KL(p || prior) then has a floor,
/// that of alpha = inf, where only the cut to the candidates costs.
class tilted_state {
public:
    /// Throws invalid_option if there is no candidate, or if a Q is NaN or +inf (a race left it
    /// open).
    tilted_state(std::span<const double> log_prior, std::span<const double> q)
        : log_prior_{log_prior},
          q_{q},
          log_p_(q.size()) {
        check_option(!q.empty() && q.size() == log_prior.size(), "alpha_for_budget", "q.size()",
                     q.size(), "log_pi.size(), and not 0");
        double lo = std::numeric_limits<double>::infinity(), hi = -lo;
        for (std::size_t i = 0; i < q.size(); ++i) {
            check_option(q[i] < std::numeric_limits<double>::infinity(), "alpha_for_budget", "q",
                         q[i], "known and not +inf");
            if (std::isinf(q[i]) || std::isinf(log_prior[i])) continue;  // never chosen
            lo = (std::min)(lo, q[i]);
            hi = (std::max)(hi, q[i]);
        }
        width_ = hi > lo ? hi - lo : 0.0;
        floor_ = kl(std::numeric_limits<double>::infinity());
    }

    [[nodiscard]] double width() const noexcept { return width_; }
    [[nodiscard]] double floor() const noexcept { return floor_; }
    [[nodiscard]] double kl(double alpha) noexcept {
        tilt(log_prior_, q_, alpha, log_p_);
        return kl_divergence(log_p_, log_prior_);
    }

private:
    std::span<const double> log_prior_, q_;
    std::vector<double> log_p_;
    double width_ = 0, floor_ = 0;
};

/// alpha as decode_options wants it: where even the argmax costs less than the budget, nearly it.
[[nodiscard]] inline double usable_alpha(double alpha, double width) noexcept {
    return alpha > 0 ? alpha : (std::max)(width / 1e12, (std::numeric_limits<double>::min)());
}

}  // namespace detail

/// The alpha at which KL(pi exp(Q / alpha) / Z || pi) of one state is `budget` nats.
/// shapes: log_pi, q [n] as of tilt, Q finite or -inf. See alpha_for_budget.
/// edges:  log_pi that sums to less than 1 (a cut to top_k): the KL counts the cut, -log(mass),
///         which no alpha undoes; +inf if that is the budget or more
[[nodiscard]] inline double alpha_for_budget(std::span<const double> log_pi,
                                             std::span<const double> q, double budget) {
    check_option(budget >= 0, "alpha_for_budget", "budget", budget, ">= 0");
    detail::tilted_state state{log_pi, q};
    const auto kl = [&](double alpha) { return state.kl(alpha) - state.floor(); };
    // Float logits can leave a floor of some -1e-8: no part of a budget of 0.
    const double rest = budget == 0 ? 0.0 : (std::max)(0.0, budget - state.floor());
    return alpha_for_budget(kl, rest, state.width());
}

/// One alpha for a whole run: that at which recorded states, tilted with it, cost `nats` each on
/// average,
///
///     mean over states of KL(prior exp(Q / alpha) / Z || prior) = nats
///
/// with the Q that their tilts used. The states are those that another alpha has led to, so a run
/// with the new one will visit others: record, set, and once more if it matters.
///
/// shapes:  any number of distributions >= 1, every Q known (race_mode::exhaustive)
/// returns: > 0; +inf if the budget is 0 (or all of it goes into the cuts to top_k); so small an
///          alpha that the argmax takes all, if even that costs less than the budget
/// errors:  throws invalid_option if nats < 0, there is no state, or a Q is unknown
[[nodiscard]] inline double alpha_for_budget(std::span<const tilted_distribution> states,
                                             double nats) {
    check_option(nats >= 0, "alpha_for_budget", "nats", nats, ">= 0");
    check_option(!states.empty(), "alpha_for_budget", "states", states.size(), ">= 1");
    std::vector<detail::tilted_state> tilts;
    double width = 0, floor = 0;
    for (const tilted_distribution& state : states) {
        tilts.emplace_back(state.log_prior, state.q);
        width = (std::max)(width, tilts.back().width());
        floor += tilts.back().floor();
    }
    const auto kl = [&](double alpha) {
        double sum = 0;
        for (detail::tilted_state& state : tilts) sum += state.kl(alpha) - state.floor();
        return sum;
    };
    const double budget = nats == 0 ? 0.0 : nats * static_cast<double>(states.size()) - floor;
    return detail::usable_alpha(alpha_for_budget(kl, (std::max)(0.0, budget), width, states.size()),
                                width);
}

/// A decode_options::alpha_rule: every step's divergence is `nats`.
///
///     tq::decoder decode{policy, q, {.alpha_rule = tq::kl_per_step{0.5}}};
///
/// What is measured is tilted_distribution::kl_prior, KL(p || prior) with the prior that is tilted,
/// over the whole vocabulary. It falls as alpha grows; if the policy itself is tilted it is the
/// divergence from the policy. With another anchor it is that from the anchor: KL to the policy
/// then starts at KL(anchor || policy), is not monotone in alpha, and no alpha keeps to a budget of
/// it.
///
/// The step meets the budget to 1e-9 nats, except that it spends
///  * less, where even the argmax of Q costs less, or all Q are alike to the last bit;
///  * more, where the cut to top_k alone costs more: then nothing else is spent (alpha = inf).
///    Raise top_k if `tilted_distribution::alpha` is often infinite.
/// It spends as much where Q hardly differ as where much is at stake, and where all differences are
/// noise; a fixed alpha does not. alpha_for_budget of recorded states gives the fixed one of the
/// same cost. It is the tilt that keeps to it, so draw from it (selection::sample): its argmax is a
/// decision whose divergence is -log prior(token), whatever alpha.
/// range: nats >= 0, inf = the argmax. Throws invalid_option otherwise, when called. Thread-safe.
struct kl_per_step {
    /// The budget; [0, inf].
    double nats = 0.5;

    /// An alpha_rule: the alpha that spends the budget in this step.
    [[nodiscard]] double operator()(const tilted_distribution& distribution,
                                    const decode_state& /*state*/) const {
        const std::vector<double>& q = distribution.q;
        return detail::usable_alpha(alpha_for_budget(distribution.log_prior, q, nats),
                                    detail::tilted_state{distribution.log_prior, q}.width());
    }
};

/// A decode_options::alpha_rule: an answer's divergence is `nats` at most. Each step gets an equal
/// share of what is left, (nats - spent so far) / tokens left; what a step does not use, later ones
/// get. An answer that ends early leaves its rest unspent.
///
/// As of kl_per_step, with the same two exceptions: only cuts to top_k can overspend.
/// range: nats >= 0. Thread-safe.
struct kl_per_answer {
    /// The budget; [0, inf].
    double nats = 10;

    /// An alpha_rule: the alpha that spends what is left of the budget evenly.
    [[nodiscard]] double operator()(const tilted_distribution& distribution,
                                    const decode_state& state) const {
        check_option(nats >= 0, "kl_per_answer", "nats", nats, ">= 0");
        const double left = (std::max)(0.0, nats - state.kl);
        return kl_per_step{left / static_cast<double>(state.tokens_left)}(distribution, state);
    }
};

}  // namespace tq
