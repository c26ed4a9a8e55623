#pragma once
// The candidates of a state, from its row of logits.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/random.hpp"
#include "../core/token.hpp"
#include "../kernels/gumbel.hpp"
#include "../kernels/log_sum_exp.hpp"
#include "../kernels/top_k.hpp"
#include "options.hpp"
#include "selection.hpp"

namespace tq::detail {

/// Candidates of a row, and its log-partition.
struct row_candidates {
    token_list tokens = {};
    double log_partition = 0;
};

/// Finds them; an object keeps its workspaces.
class candidate_finder {
public:
    /// The top_k likeliest tokens, in descending order.
    [[nodiscard]] row_candidates likeliest(logits_view row, const decode_options& options) {
        top_.resize((std::min)(options.top_k, row.size()));
        const top_k_result top = top_k_log_partition(row, top_, options.temperature);
        row_candidates result{.log_partition = top.log_partition};
        for (const scored_token& entry : std::span{top_}.first(top.found))
            result.tokens.push_back(entry.token);
        return result;
    }

    /// Those that can win, the top_k best of them, in descending order of the prior.
    [[nodiscard]] row_candidates contenders(logits_view row, const decode_options& options,
                                            random_key key, double width) {
        const selection_noise noise{options.select, key};
        survivors_.resize((std::min)(options.top_k, row.size()));
        const std::size_t found =
            gumbel_survivors(row, noise.field(), options.temperature, width, survivors_);
        if (found == 0) return likeliest(row, options);  // which says what is wrong with the row
        row_candidates result{.log_partition = log_sum_exp(row, options.temperature)};
        for (const scored_survivor& entry :
             std::span{survivors_}.first((std::min)(found, survivors_.size())))
            result.tokens.push_back(entry.token);
        const auto logit = [&](token_id token) { return row[static_cast<std::size_t>(token)]; };
        std::ranges::sort(result.tokens, [&](token_id a, token_id b) {
            return logit(a) > logit(b) || (logit(a) == logit(b) && a < b);
        });
        return result;
    }

private:
    std::vector<scored_token> top_;           // [top_k]
    std::vector<scored_survivor> survivors_;  // [top_k]
};

/// log softmax(row / temperature) at `tokens`.
[[nodiscard]] inline std::vector<double> log_probabilities(logits_view row, token_view tokens,
                                                           double temperature,
                                                           double log_partition) {
    if (tokens.empty() || !std::isfinite(log_partition))
        throw backend_error{
            "scorer: the model's logits hold NaN or infinity, or forbid every "
            "token (log-partition " +
            std::to_string(log_partition) + ")"};
    std::vector<double> result;
    result.reserve(tokens.size());
    for (const token_id token : tokens)
        result.push_back(static_cast<double>(row[static_cast<std::size_t>(token)]) / temperature -
                         log_partition);
    return result;
}

}  // namespace tq::detail
