#pragma once
// Block decoding: the same tilt on blocks of tokens. Fewer, larger decisions.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/policy.hpp"
#include "../core/error.hpp"
#include "../kernels/tilt.hpp"
#include "../rollout/engine.hpp"
#include "generation.hpp"
#include "options.hpp"
#include "selection.hpp"
#include "step.hpp"

namespace tq {

/// `block` that holds a whole answer.
inline constexpr std::size_t whole_answer = (std::numeric_limits<std::size_t>::max)();

/// Options of block decoding.
struct block_options {
    /// Strength of the tilt, in units of the reward; (0, inf]. inf = a draw of the proposer
    /// (no-op).
    double alpha = 0.1;

    /// Tokens of a block, at most; [1, inf). whole_answer = one decision: best-of-n with a tilt.
    std::size_t block = 8;

    /// Blocks that are proposed per decision; [1, inf). Cost grows linearly.
    std::size_t candidates = 8;

    /// How the proposer draws blocks; not greedy unless there is one candidate.
    sampling_rule proposal = {.temperature = 1.0, .top_p = 1.0};

    /// How the block is picked.
    tq::selection select = tq::selection::sample;

    /// Every random number is a function of it.
    std::uint64_t seed = 0;

    /// Tokens that end an answer. Empty = those that the proposer states, if any.
    token_list end_tokens = {};
};

/// Throws invalid_option unless every field is in range.
inline void validate(const block_options& options, std::string_view where) {
    check_option(options.alpha > 0, where, "alpha", options.alpha, "in (0, inf]");
    check_option(options.block >= 1, where, "block", options.block, ">= 1");
    check_option(options.candidates >= 1, where, "candidates", options.candidates, ">= 1");
    validate(options.proposal, where);
    check_option(options.candidates == 1 || !options.proposal.greedy(), where, "candidates",
                 options.candidates,
                 "1 when the proposal is greedy (temperature 0): all are alike");
}

/// The divergence from a law, in nats, of anything that is chosen among n >= 1 independent draws of
/// it, by whatever rule, is at most log n - (n - 1) / n: a set that the law gives probability p
/// gets p^n at least. The best of n draws that are all unlike has exactly that.
/// Source: Beirami et al., arXiv 2401.01879, for the best of n.
[[nodiscard]] inline double kl_of_best(std::size_t n) noexcept {
    const auto draws = static_cast<double>(n);
    return std::log(draws) - (draws - 1) / draws;
}

/// One chosen block.
struct block_step {
    token_list tokens;         ///< the block; an end token is left out
    std::size_t choice = 0;    ///< which candidate
    std::size_t position = 0;  ///< of its first token in the answer
    std::size_t prompt = 0;    ///< which prompt it belongs to
    bool ends = false;         ///< an end token came after it
    /// Divergence from the proposer, in nats, that the choice may have cost. Its mean over many
    /// decisions bounds the true divergence of the block's law from above: kl_of_best(candidates)
    /// of the argmax, log(candidates) - entropy of the choice of a draw.
    double kl = 0;
    model_tokens spent;      ///< what it cost; the proposer counts as the policy
    weight_summary weights;  ///< how many estimates rest on importance weights, and how many failed
    std::vector<token_list> blocks;  ///< [candidates] what was proposed
    std::vector<double> q;           ///< [candidates] Q of each
    std::vector<double> q_error;     ///< [candidates] its standard error
    std::vector<double> log_p;       ///< [candidates] log-probability of each choice

    /// What this step adds to the answer.
    [[nodiscard]] token_view emitted() const noexcept { return tokens; }
    /// Divergence of the choice from what it tilts, in nats.
    [[nodiscard]] double tilt_kl() const noexcept { return kl; }
};

/// Decodes in blocks of n tokens. Candidates b_1 ... b_k are drawn from a proposer rho, and one is
/// chosen with probability
///
///     p(b_i) ∝ exp(Q(s, b_i) / alpha),
///
/// so that the block's law tends to rho(b|s) exp(Q(s,b) / alpha) / Z as k grows: the closed form of
/// the token-level decoder, on blocks (the proposer is the prior). Q(s, b) is the action value of
/// the block's last token after the others: rollouts of the baseline from the end of the block. A
/// block that ends or fills the answer is judged as it stands.
///
/// block = 1 decides every token among k draws; block = whole_answer is best-of-k with a tilt, and
/// with selection::argmax best-of-k itself. Blockwise decoding: Mudgal et al., arXiv 2310.17022.
///
/// Lvalues are held by reference and must outlive the object, rvalues are moved in.
/// threads: one decoder per thread; it uses the models it was given. Models decoding_method.
template <class Proposer, class Value>
class block_decoder : public generates<block_decoder<Proposer, Value>> {
    static_assert(explain_policy<std::remove_reference_t<Proposer>>());
    static_assert(explain_action_value<std::remove_reference_t<Value>>());

public:
    /// What one decision is.
    using step_type = block_step;

    /// Throws invalid_option if an option is out of range.
    block_decoder(Proposer&& proposer, Value&& value, block_options options = {})
        : proposer_(std::forward<Proposer>(proposer)),
          value_(std::forward<Value>(value)),
          options_{std::move(options)},
          end_tokens_{chosen_end_tokens(options_.end_tokens, proposer_)} {
        validate(options_, "block_decoder");
    }

    /// One decision for each state.
    [[nodiscard]] std::vector<block_step> next(std::span<const decode_state> states) {
        const std::vector<trajectory> blocks = propose(states);
        const std::vector<value_estimate> values = evaluate(states, blocks);
        std::vector<block_step> steps;
        for (std::size_t i = 0; i < states.size(); ++i) {
            const std::size_t first = i * options_.candidates;
            steps.push_back(pick(states[i], std::span{blocks}.subspan(first, options_.candidates),
                                 std::span{values}.subspan(first, options_.candidates)));
        }
        return steps;
    }

    [[nodiscard]] const block_options& options() const noexcept { return options_; }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }
    [[nodiscard]] std::size_t vocab_size() { return vocab_size_of(proposer_); }

private:
    static constexpr std::uint64_t proposal_key = 1, value_key = 2, choice_key = 3;

    /// candidates blocks for each state, state by state.
    [[nodiscard]] std::vector<trajectory> propose(std::span<const decode_state> states) {
        std::vector<rollout_request> requests;
        for (const decode_state& state : states)
            for (std::size_t i = 0; i < options_.candidates; ++i)
                requests.push_back({.sequence = state.sequence,
                                    .max_tokens = (std::min)(options_.block, state.tokens_left),
                                    .end_tokens = state.end_tokens,
                                    .key = state.key.fold_in(proposal_key).fold_in(i)});
        return run_rollouts(proposer_, requests, options_.proposal);
    }

    /// Q of each block, as that of its last token after the others.
    [[nodiscard]] std::vector<value_estimate> evaluate(std::span<const decode_state> states,
                                                       const std::vector<trajectory>& blocks) {
        std::vector<value_estimate> values(blocks.size());
        std::vector<value_query> queries;
        for (std::size_t j = 0; j < blocks.size(); ++j) {
            const std::size_t i = j / options_.candidates;
            decode_state state = states[i];
            const token_view sequence = blocks[j].sequence;
            const token_view last =
                blocks[j].finished ? state.end_tokens.first(1) : sequence.last(1);
            state.sequence = blocks[j].finished ? sequence : sequence.first(sequence.size() - 1);
            state.tokens_left -= state.sequence.size() - states[i].sequence.size();
            state.key = states[i].key.fold_in(value_key).fold_in(j % options_.candidates);
            queries.push_back({state, last, {&values[j], 1}});
        }
        value_.evaluate(queries);
        return values;
    }

    [[nodiscard]] block_step pick(const decode_state& state, std::span<const trajectory> blocks,
                                  std::span<const value_estimate> values) const {
        const std::size_t n = blocks.size();
        block_step step;
        step.position = state.answer().size();
        step.log_p.resize(n);
        for (std::size_t i = 0; i < n; ++i) {
            if (std::isnan(values[i].q))
                throw backend_error{"action value: Q of block " + std::to_string(i) + " is NaN"};
            step.spent.policy += blocks[i].rows - (i == 0 ? 0 : 1);  // the first row is shared
            step.spent += values[i].spent;
            if (values[i].weights) step.weights.add(*values[i].weights);
            // Before the last token of a block, which is the candidate, come the others.
            const std::size_t others =
                blocks[i].tokens().empty() ? 0 : blocks[i].tokens().size() - 1;
            step.spent.reward += others;
            if (values[i].rollouts > 0) step.spent.baseline += others;
            step.blocks.emplace_back(blocks[i].tokens().begin(), blocks[i].tokens().end());
            step.q.push_back(values[i].q);
            step.q_error.push_back(values[i].standard_error);
        }
        const std::vector<double> log_prior(n, -std::log(static_cast<double>(n)));
        tilt(log_prior, step.q, options_.alpha, step.log_p);
        step.kl = options_.select == selection::argmax ? kl_of_best(n)
                                                       : kl_divergence(step.log_p, log_prior);

        const auto number = [](std::size_t i) { return static_cast<token_id>(i); };
        step.choice = select(step.log_p, number, options_.select, state.key.fold_in(choice_key));
        step.tokens = step.blocks[step.choice];
        step.ends = blocks[step.choice].finished;
        return step;
    }

    Proposer proposer_;
    Value value_;
    block_options options_;
    token_list end_tokens_;
};

template <class Proposer, class Value>
block_decoder(Proposer&&, Value&&, block_options = {})
    -> block_decoder<detail::usable_policy<Proposer>, detail::usable_value<Value>>;

}  // namespace tq
