#pragma once
// Direct transfer: Q(s, z) = E over the baseline's futures of the reward.

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/baseline.hpp"
#include "../concepts/reward.hpp"
#include "../estimate/mean.hpp"
#include "../rollout/engine.hpp"
#include "../rollout/memory.hpp"

namespace tq {

/// The action value of a baseline that was aligned to the target reward:
///
///     TQ*(s, z) = E_{tau ~ rho_BL(. | s, z)} [ r(x, [y, z, tau]) ]
///
/// estimated by rollouts. All rollouts of all candidates (of all prompts) run together in the
/// rollout engine, and all their answers are judged in one call.
///
///  * A candidate that ends the answer, or fills it, is judged as it stands: no rollout, error 0.
///  * A rollout has min(horizon, tokens left after the candidate) tokens at most.
///  * A rollout cut by the horizon is judged as if it were the answer.
///  * horizon 0 judges answer + candidate (ARGS, arXiv 2402.01694).
///  * Greedy rollouts and horizon 0 have no sampling error, but their Q is that of the greedy or cut
///    baseline; their standard error is NaN, "unknown".
///
/// Lvalue arguments are held by reference and must outlive the object; rvalues are moved in.
/// threads: one object per thread. Source: arXiv 2405.20495, direct transfer.
template <class Baseline, class Reward>
class direct_transfer {
    static_assert(explain_baseline<std::remove_reference_t<Baseline>>());
    static_assert(explain_reward<std::remove_reference_t<Reward>>());

public:
    /// Throws invalid_option if an option is out of range.
    direct_transfer(Baseline&& baseline, Reward&& reward, rollout_options options = {})
        : baseline_(std::forward<Baseline>(baseline)),
          reward_(std::forward<Reward>(reward)),
          options_{options} {
        check(options, "direct_transfer");
    }

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) {
        std::vector<rollout_query> wanted;
        std::size_t total = 0;
        for (const value_query& query : queries)
            for (const token_id candidate : query.candidates)
                total += rollouts(query.state, candidate);
        std::vector<double> rewards(total);
        std::span<double> rest{rewards};
        for (const value_query& query : queries)
            for (const token_id candidate : query.candidates) {
                const std::size_t count = rollouts(query.state, candidate);
                wanted.push_back({query.state, candidate, 0, rest.first(count)});
                rest = rest.subspan(count);
            }
        sample(wanted);
        auto done = wanted.begin();
        for (const value_query& query : queries)
            for (value_estimate& value : query.values) {
                value = combine(done->state, done->candidate, done->rewards);
                ++done;
            }
    }

    /// Models sampled_value: 1 where no rollout is needed.
    [[nodiscard]] std::size_t rollouts(const decode_state& state, token_id candidate) const {
        return length(state, candidate) == 0 ? 1 : options_.rollouts;
    }

    /// Models sampled_value: all rollouts asked for run together, and are judged in one call.
    void sample(std::span<const rollout_query> queries) {
        plan(queries);
        judge(queries, run(requests_));
        auto reward = rewards_.begin();
        for (const rollout_query& query : queries)
            for (double& value : query.rewards) value = *reward++;
    }

    /// Models sampled_value. An answer that is complete is exact.
    [[nodiscard]] value_estimate combine(const decode_state& state, token_id candidate,
                                         std::span<const double> rewards) const {
        value_estimate value = mean_estimate(rewards);
        if (length(state, candidate) == 0) value.rollouts = 0;
        if (is_end_token(candidate, state.end_tokens) || state.tokens_left == 1)
            value.standard_error = 0;
        return value;
    }

    /// The range of the reward, infinite if it states none.
    [[nodiscard]] reward_range range() const { return range_of(reward_).value_or(reward_range{}); }

    [[nodiscard]] const rollout_options& options() const noexcept { return options_; }

private:
    [[nodiscard]] std::vector<trajectory> run(std::span<const rollout_request> requests) {
        if (options_.sampling.greedy() && options_.reuse)
            return run_greedy_rollouts(baseline_, requests, memory_, options_.slots);
        return run_rollouts(baseline_, requests, options_.sampling, options_.slots);
    }

    /// Tokens of a rollout after the candidate.
    [[nodiscard]] std::size_t length(const decode_state& state, token_id candidate) const {
        if (is_end_token(candidate, state.end_tokens)) return 0;
        return std::min(options_.horizon, state.tokens_left - 1);
    }

    void plan(std::span<const rollout_query> queries) {
        branches_.clear();
        requests_.clear();
        for (const rollout_query& query : queries) {
            token_list& branch =
                branches_.emplace_back(query.state.sequence.begin(), query.state.sequence.end());
            if (!is_end_token(query.candidate, query.state.end_tokens))
                branch.push_back(query.candidate);
        }
        for (std::size_t i = 0; i < queries.size(); ++i) request(queries[i], branches_[i]);
    }

    void request(const rollout_query& query, token_view branch) {
        const random_key key = query.state.key.fold_in(static_cast<std::uint64_t>(query.candidate));
        for (std::size_t i = 0; i < query.rewards.size(); ++i)
            requests_.push_back({.sequence = branch,
                                 .max_tokens = length(query.state, query.candidate),
                                 .end_tokens = query.state.end_tokens,
                                 .key = key.fold_in(query.first + i)});
    }

    void judge(std::span<const rollout_query> queries, const std::vector<trajectory>& rollouts) {
        answers_.clear();
        auto rollout = rollouts.begin();
        for (const rollout_query& query : queries)
            for (std::size_t i = 0; i < query.rewards.size(); ++i, ++rollout) {
                const token_view sequence = rollout->sequence;
                answers_.push_back(
                    {.prompt = sequence.first(query.state.prompt_size),
                     .answer = sequence.subspan(query.state.prompt_size),
                     .finished = rollout->finished ||
                                 is_end_token(query.candidate, query.state.end_tokens)});
            }
        rewards_.resize(answers_.size());
        score_answers(reward_, answers_, rewards_);
    }

    Baseline baseline_;
    Reward reward_;
    rollout_options options_;
    greedy_memory memory_;
    // Workspaces of one call, kept for their memory.
    std::vector<token_list> branches_;       // [queries] state and candidate
    std::vector<rollout_request> requests_;  // [rollouts of all queries]
    std::vector<answer_view> answers_;       // "
    std::vector<double> rewards_;            // "
};

template <class Baseline, class Reward>
direct_transfer(Baseline&&, Reward&&, rollout_options = {}) -> direct_transfer<Baseline, Reward>;

}  // namespace tq
