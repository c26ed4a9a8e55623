#pragma once
// From log importance weights to the shares that rollouts have in an estimate, and how far the
// weights can be trusted.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../concepts/weight_diagnostics.hpp"
#include "../core/bisect.hpp"
#include "../core/error.hpp"
#include "../kernels/moments.hpp"
#include "pareto.hpp"

namespace tq {

/// What to do with an estimate whose weights have collapsed onto a few rollouts.
enum class collapse_action {
    warn,        ///< only say so
    widen,       ///< keep the estimate, but give it an error that covers the unweighted one as well
    unweighted,  ///< use the unweighted estimate
    refuse,      ///< no estimate: q = -inf, the candidate must not be chosen
};

/// The words for them.
[[nodiscard]] constexpr auto names_of(collapse_action) noexcept {
    using enum collapse_action;
    return std::array<named<collapse_action>, 4>{
        {{warn, "warn"}, {widen, "widen"}, {unweighted, "unweighted"}, {refuse, "refuse"}}};
}
[[nodiscard]] inline std::string to_string(collapse_action value) { return word_of(value); }

/// Options of estimates from weighted rollouts.
struct weight_options {
    /// How weights become an estimate.
    weighting form = weighting::self_normalised;

    /// The default rule, for self_normalised: weights that leave fewer effective rollouts than a
    /// guard_rule wants are tempered until they do, and with few rollouts they are not used.
    /// Asymptotically a no-op. false = off (no-op).
    bool guard = true;

    /// Of tempered: the floor of the effective sample size, as a share of the rollouts whose weight
    /// is not 0; (0, 1].
    double temper_floor = 0.5;

    /// Of clipped: weights are cut at this quantile of theirs; (0, 1]. 1 = none.
    double clip_quantile = 1.0;

    /// Of clipped: and at this multiple of their mean; 0 or [1, inf]. 0 = sqrt(n), inf = none.
    /// Source: Ionides, "Truncated importance sampling", JCGS 2008.
    double clip_multiple = 0;

    /// What is done when weights have collapsed.
    collapse_action on_collapse = collapse_action::widen;

    /// Weights have collapsed when their effective sample size is below this share of the rollouts
    /// beyond the first, plus one ([0, 1], 0 = never) ...
    double collapse_share = 0.1;
    /// ... but at least this many effective rollouts are always enough (>= 1) ...
    double collapse_ess = 10;
    /// ... or when k-hat is known and above this, (0, inf]; inf = never.
    double collapse_k = 0.7;
};

/// Throws invalid_option unless every field is in range.
inline void validate(const weight_options& options, std::string_view where) {
    check_option(options.temper_floor > 0 && options.temper_floor <= 1, where, "temper_floor",
                 options.temper_floor, "in (0, 1]");
    check_option(options.clip_quantile > 0 && options.clip_quantile <= 1, where, "clip_quantile",
                 options.clip_quantile, "in (0, 1]");
    check_option(options.clip_multiple == 0 || options.clip_multiple >= 1, where, "clip_multiple",
                 options.clip_multiple, "0 or in [1, inf]");
    check_option(options.collapse_share >= 0 && options.collapse_share <= 1, where,
                 "collapse_share", options.collapse_share, "in [0, 1]");
    check_option(options.collapse_ess >= 1, where, "collapse_ess", options.collapse_ess, ">= 1");
    check_option(options.collapse_k > 0, where, "collapse_k", options.collapse_k, "in (0, inf]");
}

/// The measured default rule: from how many rollouts on, and with how many effective ones left,
/// weights are followed. Only rollouts whose weight is not 0 count.
struct guard_rule {
    std::size_t rollouts = 8;  ///< fewer are not worth weighting, unless floor() holds anyway
    double share = 0.9;        ///< of the rollouts that must stay effective ...
    double ess = 64;           ///< ... as long as that is not more than this

    /// The effective sample size that is wanted of m rollouts.
    [[nodiscard]] constexpr double floor(std::size_t m) const noexcept {
        return (std::min)(share * static_cast<double>(m), ess);
    }
};

/// Of importance_estimate. Chosen by measurement (benchmarks/estimators): while an estimate has the
/// noise of 64 rollouts or more, less noise is worth more than the bias that tempering leaves.
inline constexpr guard_rule importance_guard{.rollouts = 8, .share = 0.9, .ess = 64};

/// Of soft_estimate, whose log-weights carry all of the reward: half of the rollouts, at most 16.
inline constexpr guard_rule soft_guard{.rollouts = 8, .share = 0.5, .ess = 16};

namespace detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

/// How many weights are not 0.
[[nodiscard]] inline std::size_t positive_count(std::span<const double> log_weights) noexcept {
    std::size_t count = 0;
    for (const double value : log_weights) count += value != -infinity;
    return count;
}

/// shares_of, in a vector.
[[nodiscard]] inline std::vector<double> shares_of(std::span<const double> log_weights,
                                                   double power) {
    std::vector<double> shares(log_weights.size());
    tq::shares_of(log_weights, power, shares);
    return shares;
}

/// The largest power in [0, 1] whose weights have an effective sample size of at least `floor`. The
/// size falls as the power grows, for log sum w^p is convex in p.
[[nodiscard]] inline double tempering_power(std::span<const double> log_weights, double floor) {
    std::vector<double> shares(log_weights.size());
    const auto enough = [&](double power) {
        tq::shares_of(log_weights, power, shares);
        return effective_size(shares) >= floor;
    };
    return enough(1) ? 1 : bisect(0, 1, 40, enough).yes;
}

/// Positive weights, cut as weight_options say; n is their number.
inline void clip(std::span<double> log_weights, const weight_options& options) {
    std::vector<double> sorted(log_weights.begin(), log_weights.end());
    std::erase(sorted, -infinity);
    std::sort(sorted.begin(), sorted.end());
    if (sorted.empty() || sorted.back() == infinity) return;
    const double top = sorted.back();
    const auto size = static_cast<double>(sorted.size());
    const auto rank = static_cast<std::size_t>(std::ceil(options.clip_quantile * size));
    double sum = 0;
    for (const double value : sorted) sum += std::exp(value - top);
    const double multiple = options.clip_multiple == 0 ? std::sqrt(size) : options.clip_multiple;
    const double bound = (std::min)(sorted[std::max<std::size_t>(rank, 1) - 1],
                                    top + std::log(sum / size * multiple));
    for (double& value : log_weights) value = (std::min)(value, bound);
}

}  // namespace detail

/// Looks at raw weights; `used`, `power` and `refused` are left at their defaults.
///
/// shapes: log_weights [n]
/// edges:  n = 0, all weights 0, or any NaN -> ess = 0, max_share = 0, collapsed. n = 1 -> ess = 1.
///         k of the weights are +inf -> ess = k
[[nodiscard]] inline weight_diagnostics diagnose_weights(std::span<const double> log_weights,
                                                         const weight_options& options = {}) {
    weight_diagnostics result;
    result.k_hat = pareto_k(log_weights);
    const auto n = static_cast<double>(log_weights.size());
    result.collapsed = log_weights.empty() || detail::any_nan(log_weights) ||
                       detail::positive_count(log_weights) == 0;
    if (result.collapsed) return result;
    const std::vector<double> shares = detail::shares_of(log_weights, 1);
    result.positive = detail::positive_count(log_weights);
    result.ess = effective_size(shares);
    result.max_share = detail::largest_of(shares);
    const double enough =
        (std::min)(1 + options.collapse_share * (n - 1), options.collapse_ess) * (1 - 1e-12);
    result.collapsed =
        result.ess < enough || (std::isfinite(result.k_hat) && result.k_hat > options.collapse_k);
    return result;
}

/// The form that an estimate takes in the end:
///
///   1. reference stays reference, whatever the weights are like.
///   2. unweighted if no weight is positive, or they have collapsed and on_collapse says so.
///   3. unweighted for one rollout, unless the form is plain: its weight cancels.
///   4. self_normalised with guard, and m positive weights that leave fewer than guard.floor(m)
///      effective rollouts: unweighted if m < guard.rollouts, tempered from there on.
///   5. otherwise what the options say.
[[nodiscard]] inline weighting form_of_estimate(std::size_t n,
                                                const weight_diagnostics& diagnostics,
                                                const weight_options& options,
                                                const guard_rule& guard) noexcept {
    using enum weighting;
    if (options.form == reference) return reference;
    if (diagnostics.ess == 0 ||
        (diagnostics.collapsed && options.on_collapse == collapse_action::unweighted))
        return unweighted;
    if (n == 1 && options.form != plain) return unweighted;
    const std::size_t m = diagnostics.positive;
    if (options.form == self_normalised && options.guard && diagnostics.ess < guard.floor(m))
        return m < guard.rollouts ? unweighted : tempered;
    return options.form;
}

/// The weights that an estimate uses in the end.
struct chosen_weights {
    std::vector<double> log_weights;  ///< [n] smoothed or clipped, not raised to diagnostics.power
    weight_diagnostics diagnostics;   ///< of the raw weights
};

/// Applies form, default rule and fall-back. Refused: n = 0, any NaN among the weights, or
/// collapsed weights if on_collapse = refuse (and the form is not reference).
/// Throws invalid_option for options out of range.
[[nodiscard]] inline chosen_weights choose_weights(std::span<const double> log_weights,
                                                   const weight_options& options = {},
                                                   const guard_rule& guard = importance_guard) {
    validate(options, "weights");
    chosen_weights chosen{.log_weights = {log_weights.begin(), log_weights.end()},
                          .diagnostics = diagnose_weights(log_weights, options)};
    weight_diagnostics& d = chosen.diagnostics;
    const std::size_t n = log_weights.size();
    d.refused = n == 0 || detail::any_nan(log_weights) ||
                (d.collapsed && options.on_collapse == collapse_action::refuse &&
                 options.form != weighting::reference);
    if (!d.refused) d.used = form_of_estimate(n, d, options, guard);
    if (d.used == weighting::tempered) {
        const bool asked = options.form == weighting::tempered;
        const double share = options.temper_floor * static_cast<double>(d.positive);
        d.power = detail::tempering_power(log_weights, asked ? share : guard.floor(d.positive));
    }
    if (d.used == weighting::unweighted) d.power = 0;
    if (d.used == weighting::clipped) detail::clip(chosen.log_weights, options);
    if (d.used == weighting::pareto_smoothed) static_cast<void>(pareto_smooth(chosen.log_weights));
    return chosen;
}

}  // namespace tq
