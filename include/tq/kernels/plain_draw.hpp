#pragma once
// Drawing from a list of weights; and from a row as it is written down, for what is too wide for
// float.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "../core/trajectory.hpp"
#include "argmax.hpp"
#include "top_k.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail {

inline constexpr double almost_one = 1 - 0x1p-53;

/// Where in a list of weights the share u of their sum falls: the index, always of a positive
/// weight (the size of the list if there is none), and the share of that weight.
struct place {
    std::size_t index;
    double share;
};
[[nodiscard]] inline place find_share(std::span<const double> weights, double u) noexcept {
    double total = 0, running = 0;
    for (const double weight : weights) total += weight;
    const double target = (std::min)(u, almost_one) * total;
    std::size_t last = weights.size();
    for (std::size_t i = 0; i < weights.size(); ++i) {
        if (!(weights[i] > 0)) continue;
        last = i;
        if (running + weights[i] > target) return {i, (target - running) / weights[i]};
        running += weights[i];
    }
    return {last, almost_one};
}

/// A token at `u` of the distribution function of row_sampler, for temperatures and logits whose
/// quotient float cannot hold: in double, with a sort. No NaN and no +inf in the row; `entries` is
/// workspace.
[[nodiscard]] inline token_id draw_plainly(logits_view row, double u, const sampling_rule& rule,
                                           double min_p, std::vector<scored_token>& entries) {
    const auto top = static_cast<double>(find_maximum(row).value);
    const auto weight = [&](scored_token entry) {
        return std::exp((static_cast<double>(entry.logit) - top) / rule.temperature);
    };
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    entries.clear();
    double total = 0, mass = 0;
    for (std::size_t i = 0; i < row.size(); ++i)
        if (row[i] > nothing) {
            entries.push_back({static_cast<token_id>(i), row[i]});
            total += weight(entries.back());
        }
    std::sort(entries.begin(), entries.end(), ranks_before);
    std::size_t kept = 0;
    while (kept < entries.size() && mass < rule.top_p * total && weight(entries[kept]) >= min_p)
        mass += weight(entries[kept++]);
    if (kept == 0) return no_token;
    double running = 0;
    token_id drawn = no_token;
    for (std::size_t i = 0; i < row.size(); ++i) {
        const scored_token entry{static_cast<token_id>(i), row[i]};
        if (!(entry.logit > nothing) || ranks_before(entries[kept - 1], entry)) continue;
        const double own = weight(entry);
        if (own > 0) drawn = entry.token;
        if ((running += own) > u * mass) break;
    }
    return drawn;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI::kernel_detail
