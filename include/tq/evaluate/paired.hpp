#pragma once
// Comparing two methods on the same prompts.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/random.hpp"
#include "../estimate/interval.hpp"
#include "../estimate/mean.hpp"

namespace tq {

/// Difference of two methods over the same prompts.
struct paired_difference {
    double mean = 0;            ///< mean of a[i] - b[i]
    double standard_error = 0;  ///< of that mean; NaN for one prompt
    /// mean / standard_error; +-inf if the differences are all the same and not 0, NaN if unknown.
    [[nodiscard]] double z() const noexcept { return mean / standard_error; }
};

/// Paired comparison: prompts differ far more than methods, so their spread is taken out.
/// shapes: a, b [n], n >= 1; entry i of both belongs to prompt i. Throws invalid_option otherwise.
[[nodiscard]] inline paired_difference compare_paired(std::span<const double> a,
                                                      std::span<const double> b) {
    check_option(!a.empty() && a.size() == b.size(), "compare_paired", "b.size()", b.size(),
                 "a.size() = " + std::to_string(a.size()) + ", and not 0");
    std::vector<double> difference;
    for (std::size_t i = 0; i < a.size(); ++i) difference.push_back(a[i] - b[i]);
    const value_estimate estimate = mean_estimate(difference);
    return {.mean = estimate.q, .standard_error = estimate.standard_error};
}

/// How often one method is better than another on the same prompts.
struct win_rates {
    double win = 0;   ///< share of prompts where it is better; the three sum to 1
    double tie = 0;   ///< share where neither is
    double loss = 0;  ///< share where it is worse
    /// Share of wins and ties, in [0, 1].
    [[nodiscard]] double win_tie() const noexcept { return win + tie; }
};

/// Compares judged answers prompt by prompt; values within `margin` of each other are ties. Judge
/// with a reward that no method has decoded with.
/// shapes: a, b [n], n >= 1. range: margin >= 0. Throws invalid_option otherwise.
[[nodiscard]] inline win_rates compare_wins(std::span<const double> a, std::span<const double> b,
                                            double margin = 0) {
    check_option(!a.empty() && a.size() == b.size(), "compare_wins", "b.size()", b.size(),
                 "a.size() = " + std::to_string(a.size()) + ", and not 0");
    check_option(margin >= 0, "compare_wins", "margin", margin, ">= 0");
    win_rates rates;
    const double part = 1 / static_cast<double>(a.size());
    for (std::size_t i = 0; i < a.size(); ++i)
        (a[i] > b[i] + margin ? rates.win : b[i] > a[i] + margin ? rates.loss : rates.tie) += part;
    return rates;
}

/// Percentile bootstrap of a paired difference: an interval for the mean of a[i] - b[i] over
/// prompts like these, which makes no assumption about its distribution. With fewer than some 20
/// prompts it is too narrow.
///
/// Source: Efron, "Bootstrap methods: another look at the jackknife", 1979.
/// shapes: a, b [n], n >= 1. range: confidence in (0, 1), resamples >= 100. Throws invalid_option
///         otherwise.
/// cost:   O(n resamples). The same key gives the same interval.
[[nodiscard]] inline mean_interval bootstrap_paired(std::span<const double> a,
                                                    std::span<const double> b, random_key key,
                                                    double confidence = 0.95,
                                                    std::size_t resamples = 10'000) {
    check_option(!a.empty() && a.size() == b.size(), "bootstrap_paired", "b.size()", b.size(),
                 "a.size() = " + std::to_string(a.size()) + ", and not 0");
    check_option(confidence > 0 && confidence < 1, "bootstrap_paired", "confidence", confidence,
                 "in (0, 1)");
    check_option(resamples >= 100, "bootstrap_paired", "resamples", resamples, ">= 100");
    const auto n = static_cast<double>(a.size());
    std::vector<double> means(resamples);
    for (std::size_t r = 0; r < resamples; ++r) {
        const random_key own = key.fold_in(r);
        for (std::size_t i = 0; i < a.size(); ++i) {
            const auto pick = static_cast<std::size_t>(own.uniform(i) * n);
            means[r] += (a[pick] - b[pick]) / n;
        }
    }
    std::ranges::sort(means);
    const auto rank = [&](double p) {
        return means[static_cast<std::size_t>(std::lround(p * static_cast<double>(resamples - 1)))];
    };
    return {.lo = rank((1 - confidence) / 2), .hi = rank((1 + confidence) / 2)};
}

}  // namespace tq
