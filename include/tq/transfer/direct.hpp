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
        plan(queries);
        const std::vector<trajectory> rollouts =
            run_rollouts(baseline_, requests_, options_.sampling);
        judge(rollouts);
        estimate(queries);
    }

    [[nodiscard]] const rollout_options& options() const noexcept { return options_; }

private:
    /// What one candidate needs: how many rollouts, how long, and the sequence that they continue.
    struct branch {
        token_list sequence;
        std::size_t prompt_size, rollouts, length;
        bool ends;  // the candidate is an end token
    };

    [[nodiscard]] branch make_branch(const decode_state& state, token_id candidate) const {
        const bool ends = is_end_token(candidate, state.end_tokens);
        const std::size_t length = ends ? 0 : std::min(options_.horizon, state.tokens_left - 1);
        branch result{.sequence = {state.sequence.begin(), state.sequence.end()},
                      .prompt_size = state.prompt_size,
                      .rollouts = length == 0 ? 1 : options_.rollouts,
                      .length = length,
                      .ends = ends};
        if (!ends) result.sequence.push_back(candidate);
        return result;
    }

    void plan(std::span<const value_query> queries) {
        branches_.clear();
        requests_.clear();
        for (const value_query& query : queries)
            for (const token_id candidate : query.candidates)
                branches_.push_back(make_branch(query.state, candidate));
        std::size_t index = 0;
        for (const value_query& query : queries)
            for (const token_id candidate : query.candidates)
                request(query.state, candidate, branches_[index++]);
    }

    void request(const decode_state& state, token_id candidate, const branch& from) {
        const random_key key = state.key.fold_in(static_cast<std::uint64_t>(candidate));
        for (std::size_t i = 0; i < from.rollouts; ++i)
            requests_.push_back({.sequence = from.sequence,
                                 .max_tokens = from.length,
                                 .end_tokens = state.end_tokens,
                                 .key = key.fold_in(i)});
    }

    void judge(std::span<const trajectory> rollouts) {
        answers_.clear();
        for (std::size_t b = 0, r = 0; b < branches_.size(); ++b)
            for (std::size_t i = 0; i < branches_[b].rollouts; ++i, ++r) {
                const token_view sequence = rollouts[r].sequence;
                answers_.push_back({.prompt = sequence.first(branches_[b].prompt_size),
                                    .answer = sequence.subspan(branches_[b].prompt_size),
                                    .finished = branches_[b].ends || rollouts[r].finished});
            }
        rewards_.resize(answers_.size());
        score_answers(reward_, answers_, rewards_);
    }

    void estimate(std::span<const value_query> queries) const {
        std::size_t b = 0, r = 0;
        for (const value_query& query : queries)
            for (value_estimate& value : query.values) {
                const branch& from = branches_[b++];
                value = mean_estimate(std::span{rewards_}.subspan(r, from.rollouts));
                r += from.rollouts;
                if (from.length == 0) value.rollouts = 0;
                if (from.ends || query.state.tokens_left == 1) value.standard_error = 0;
            }
    }

    Baseline baseline_;
    Reward reward_;
    rollout_options options_;
    // Workspaces of one evaluation, kept for their memory.
    std::vector<branch> branches_;           // [candidates of all queries]
    std::vector<rollout_request> requests_;  // [rollouts of all candidates]
    std::vector<answer_view> answers_;       // "
    std::vector<double> rewards_;            // "
};

template <class Baseline, class Reward>
direct_transfer(Baseline&&, Reward&&, rollout_options = {}) -> direct_transfer<Baseline, Reward>;

}  // namespace tq
