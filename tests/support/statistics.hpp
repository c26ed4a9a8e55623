#pragma once
// Tests of random behaviour: fixed seeds, and limits that follow from the number of trials.

#include <cmath>
#include <cstddef>
#include <vector>

namespace tq::test {

/// Pearson's statistic and its degrees of freedom.
struct chi_square_result {
    double statistic = 0;
    std::size_t degrees = 0;

    /// The statistic's 0.9999 quantile if the probabilities are right (Wilson and Hilferty).
    [[nodiscard]] double limit() const {
        const auto n = static_cast<double>(degrees);
        const double h = 2.0 / (9.0 * n);
        return n * std::pow(1.0 - h + 3.719 * std::sqrt(h), 3.0);
    }
    [[nodiscard]] bool plausible() const { return degrees > 0 && statistic <= limit(); }
};

/// Counts against probabilities [same size]; cells that expect fewer than 5 are pooled. A count
/// where the probability is 0 makes the statistic infinite.
inline chi_square_result chi_square(const std::vector<std::size_t>& counts,
                                    const std::vector<double>& probabilities) {
    double total = 0, pooled_count = 0, pooled_expected = 0, statistic = 0;
    for (const std::size_t count : counts) total += static_cast<double>(count);
    std::size_t cells = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const double expected = total * probabilities[i];
        const auto count = static_cast<double>(counts[i]);
        if (expected == 0 && count > 0) statistic = HUGE_VAL;
        if (expected < 5) {
            pooled_count += count;
            pooled_expected += expected;
            continue;
        }
        statistic += (count - expected) * (count - expected) / expected;
        ++cells;
    }
    if (pooled_expected >= 1) {
        const double difference = pooled_count - pooled_expected;
        statistic += difference * difference / pooled_expected;
        ++cells;
    }
    return {statistic, cells > 0 ? cells - 1 : 0};
}

/// |a - b| <= tolerance; equal infinities are close, NaN never is.
inline bool close(double a, double b, double tolerance) {
    return a == b || std::abs(a - b) <= tolerance;
}

}  // namespace tq::test
