#pragma once
// Best-of-n: whole answers, the best one by the reward.

#include <cstddef>
#include <cstdint>

#include "../decode/block_decoder.hpp"
#include "../transfer/direct.hpp"

namespace tq {

/// Options of best_of_n.
struct best_of_n_options {
    std::size_t n = 8;                                            ///< answers per prompt; >= 1
    sampling_rule proposal = {.temperature = 1.0, .top_p = 1.0};  ///< how they are drawn
    /// Every random number is a function of it.
    std::uint64_t seed = 0;
    token_list end_tokens = {};  ///< empty = those that the proposer states
};

/// Draws n answers from `proposer` (the policy, or an aligned baseline) and keeps the one that
/// `judge` likes most: a block decoder whose one block is the answer.
///
/// Model tokens per emitted token: 2 n (proposer and reward read every answer).
/// Divergence from the proposer: kl_of_best(n), which its step states.
/// Source: Stiennon et al., arXiv 2009.01325; Nakano et al., arXiv 2112.09332.
///
/// Proposer and judge are held by reference and must outlive it. Throws invalid_option for n = 0
/// and for several greedy answers.
template <class Proposer, class Judge>
[[nodiscard]] block_decoder<Proposer&, direct_transfer<Proposer&, Judge&>> best_of_n(
    Proposer& proposer, Judge& judge, const best_of_n_options& options = {}) {
    constexpr double no_softening = 1e-12;  // of the choice
    return {proposer,
            direct_transfer<Proposer&, Judge&>{proposer, judge},
            {.alpha = no_softening,
             .block = whole_answer,
             .candidates = options.n,
             .proposal = options.proposal,
             .select = selection::argmax,
             .seed = options.seed,
             .end_tokens = options.end_tokens}};
}

}  // namespace tq
