#pragma once
// Direct transfer: Q(s, z) = E over the baseline's futures of the reward.

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "../estimate/mean.hpp"
#include "look_ahead.hpp"

namespace tq {

/// The action value of a baseline that was aligned to the target reward:
///
///     TQ*(s, z) = E_{tau ~ rho_BL(. | s, z)} [ r(x, [y, z, tau]) ]
///
/// estimated by rollouts. All rollouts of all candidates (of all prompts) run together in the
/// rollout engine, and their answers are judged in batches.
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
public:
    /// Throws invalid_option if an option is out of range.
    direct_transfer(Baseline&& baseline, Reward&& reward, rollout_options options = {})
        : look_{std::forward<Baseline>(baseline), std::forward<Reward>(reward), options,
                "direct_transfer"} {}

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) {
        detail::candidate_queries asked{queries, [&](const decode_state& state, token_id token) {
                                            return rollouts(state, token);
                                        }};
        sample(asked.queries);
        auto done = asked.queries.begin();
        for (const value_query& query : queries)
            for (value_estimate& value : query.values) {
                value = combine(done->state, done->candidate, done->rewards);
                value.spent = done->spent;
                ++done;
            }
    }

    /// Models sampled_value: 1 where no rollout is needed.
    [[nodiscard]] std::size_t rollouts(const decode_state& state, token_id candidate) const {
        return look_.rollouts(state, candidate);
    }

    /// Models sampled_value: the candidate and a rollout, read by baseline and reward.
    [[nodiscard]] std::size_t cost(const decode_state& state) const {
        return 1 + 2 * look_.longest(state);
    }

    /// Models sampled_value: all rollouts asked for run together, and are judged in one call.
    void sample(std::span<rollout_query> queries) {
        look_.run(
            queries, [] {}, false);
    }

    /// Models streamed_value: rollouts are judged as they end, in batches; progress() hears of it and
    /// may mark queries as not `wanted`. A batch is as large as what is still in flight, so that the
    /// judging costs no more than waiting would.
    template <class Progress>
    void sample(std::span<rollout_query> queries, Progress progress) {
        look_.run(queries, progress, true);
    }

    /// Models sampled_value. An answer that is complete is exact.
    [[nodiscard]] value_estimate combine(const decode_state& state, token_id candidate,
                                         std::span<const double> rewards) const {
        value_estimate value = mean_estimate(rewards);
        if (look_.length(state, candidate) == 0) value.rollouts = 0;
        if (look_.complete(state, candidate)) value.standard_error = 0;
        return value;
    }

    /// The range of the reward, infinite if it states none.
    [[nodiscard]] reward_range range() const { return look_.range(); }

    /// What it was made with.
    [[nodiscard]] const rollout_options& options() const noexcept { return look_.options(); }

    /// Of all rollouts so far.
    [[nodiscard]] const rollout_stats& stats() const noexcept { return look_.stats(); }

private:
    detail::look_ahead<Baseline, Reward> look_;
};

template <class Baseline, class Reward>
direct_transfer(Baseline&&, Reward&&, rollout_options = {}) -> direct_transfer<Baseline, Reward>;

}  // namespace tq
