#include "portable.hpp"

#include <tq/kernels/sample.hpp>
#include <tq/kernels/top_k.hpp>
#include <vector>

namespace portable {

namespace {

std::vector<tq::scored_token>& workspace(std::size_t k) {
    static thread_local std::vector<tq::scored_token> best;
    best.resize(k);
    return best;
}

void copy(const std::vector<tq::scored_token>& best, std::span<tq::token_id> tokens) {
    for (std::size_t i = 0; i < best.size(); ++i) tokens[i] = best[i].token;
}

}  // namespace

std::size_t top_k(tq::logits_view row, std::span<tq::token_id> tokens) {
    auto& best = workspace(tokens.size());
    const std::size_t found = tq::top_k(row, best);
    copy(best, tokens);
    return found;
}

double top_k_log_partition(tq::logits_view row, std::span<tq::token_id> tokens) {
    auto& best = workspace(tokens.size());
    const double partition = tq::top_k_log_partition(row, best).log_partition;
    copy(best, tokens);
    return partition;
}

tq::token_id sample(tq::logits_view row, double u) {
    static thread_local tq::row_sampler sampler{{}};
    return sampler(row, u);
}

void fill(tq::logits_view row, llama_token_data* candidates) {
    for (std::size_t i = 0; i < row.size(); ++i)
        candidates[i] = {static_cast<llama_token>(i), row[i], 0.0F};
}

}  // namespace portable
