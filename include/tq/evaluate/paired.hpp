#pragma once
// Comparing two methods on the same prompts.

#include <cmath>
#include <span>
#include <vector>

#include "../core/error.hpp"
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

}  // namespace tq
