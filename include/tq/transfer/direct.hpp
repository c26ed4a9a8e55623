#pragma once
// Direct transfer: Q(s, z) = E over the baseline's futures of the reward.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
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
    static_assert(explain_baseline<std::remove_reference_t<Baseline>>());
    static_assert(explain_reward<std::remove_reference_t<Reward>>());

public:
    /// Throws invalid_option if an option is out of range.
    direct_transfer(Baseline&& baseline, Reward&& reward, rollout_options options = {})
        : baseline_(std::forward<Baseline>(baseline)),
          reward_(std::forward<Reward>(reward)),
          options_{options} {
        check(options, "direct_transfer");
        check(rule(), "direct_transfer");
        if constexpr (completer<std::remove_reference_t<Baseline>>)
            check_option(options.noise == rollout_noise::independent, "direct_transfer", "noise",
                         static_cast<int>(options.noise),
                         "independent: this baseline completes text by itself");
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
                value.spent = done->spent;
                ++done;
            }
    }

    /// Models sampled_value: 1 where no rollout is needed.
    [[nodiscard]] std::size_t rollouts(const decode_state& state, token_id candidate) const {
        return length(state, candidate) == 0 ? 1 : options_.rollouts;
    }

    /// Models sampled_value: the candidate and a rollout, read by baseline and reward.
    [[nodiscard]] std::size_t cost(const decode_state& state) const {
        return 1 + 2 * std::min(options_.horizon, state.tokens_left - 1);
    }

    /// Models sampled_value: all rollouts asked for run together, and are judged in one call.
    void sample(std::span<rollout_query> queries) {
        run(
            queries, [] {}, false);
    }

    /// Models streamed_value: rollouts are judged as they end, in batches; progress() hears of it and
    /// may mark queries as not `wanted`. A batch is as large as what is still in flight, so that the
    /// judging costs no more than waiting would.
    template <class Progress>
    void sample(std::span<rollout_query> queries, Progress progress) {
        run(queries, progress, true);
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

    /// Of all rollouts so far.
    [[nodiscard]] const rollout_stats& stats() const noexcept { return stats_; }

private:
    /// The rollouts of one call: judges those that have ended.
    template <class Progress>
    struct rollout_judge {
        direct_transfer& value;
        std::span<rollout_query> queries;
        Progress progress;
        bool eager;                          // judge as rollouts end, not all together
        std::size_t open;                    // rollouts that have not ended
        std::vector<std::size_t> waiting{};  // that have ended and are not judged

        void ended(std::span<const std::size_t> which, std::span<const trajectory> all) {
            waiting.insert(waiting.end(), which.begin(), which.end());
            open -= which.size();
            if (eager ? waiting.size() >= open : open == 0) judge(all);
        }
        [[nodiscard]] bool wanted(std::size_t i) const {
            return queries[value.owners_[i].query].wanted;
        }
        void judge(std::span<const trajectory> all) {
            std::erase_if(waiting, [&](std::size_t i) { return !wanted(i); });
            std::ranges::sort(waiting);
            value.judge(queries, waiting, all);
            waiting.clear();
            progress();
            open = 0;
            for (std::size_t i = 0; i < value.owners_.size(); ++i)
                open += wanted(i) && std::isnan(value.reward_of(queries, i));
        }
    };

    /// Which reward a request is for.
    struct owner {
        std::size_t query;
        std::size_t place;  // in its rewards
    };

    template <class Progress>
    void run(std::span<rollout_query> queries, Progress progress, bool eager) {
        plan(queries);
        rollout_judge<Progress> judge{*this, queries, progress, eager, requests_.size()};
        const sampling_rule rule = this->rule();
        const std::vector<trajectory> all =
            options_.remembers()
                ? run_remembered_rollouts(baseline_, requests_, rule, memory_, options_.slots,
                                          judge, &stats_)
                : run_rollouts(baseline_, requests_, rule, options_.slots, judge, &stats_);
        for (std::size_t i = 0; i < all.size(); ++i) account(queries, i, all[i]);
    }

    [[nodiscard]] sampling_rule rule() const {
        sampling_rule rule = options_.sampling;
        rule.gumbel = options_.noise != rollout_noise::independent;
        return rule;
    }

    /// Tokens of a rollout after the candidate.
    [[nodiscard]] std::size_t length(const decode_state& state, token_id candidate) const {
        if (is_end_token(candidate, state.end_tokens)) return 0;
        return std::min(options_.horizon, state.tokens_left - 1);
    }

    void plan(std::span<rollout_query> queries) {
        branches_.clear();
        requests_.clear();
        owners_.clear();
        for (const rollout_query& query : queries) {
            token_list& branch =
                branches_.emplace_back(query.state.sequence.begin(), query.state.sequence.end());
            if (!is_end_token(query.candidate, query.state.end_tokens))
                branch.push_back(query.candidate);
        }
        for (std::size_t j = 0; j < queries.size(); ++j) {
            rollout_query& query = queries[j];
            query.spent = {};
            std::ranges::fill(query.rewards, std::numeric_limits<double>::quiet_NaN());
            for (std::size_t i = 0; i < query.rewards.size(); ++i) {
                owners_.push_back({j, i});
                requests_.push_back({.sequence = branches_[j],
                                     .max_tokens = length(query.state, query.candidate),
                                     .end_tokens = query.state.end_tokens,
                                     .key = key_of(query, query.first + i)});
            }
        }
    }

    [[nodiscard]] random_key key_of(const rollout_query& query, std::size_t number) const {
        switch (options_.noise) {
            case rollout_noise::coupled:
                return query.state.key.fold_in(coupled_rollouts).fold_in(number);
            case rollout_noise::scenario:
                return query.state.answer_key.fold_in(coupled_rollouts).fold_in(number);
            default:
                return query.state.key.fold_in(static_cast<std::uint64_t>(query.candidate))
                    .fold_in(number);
        }
    }

    /// Model tokens that request i has cost, given up or not. The candidate is read once for all its
    /// rollouts.
    void account(std::span<rollout_query> queries, std::size_t i, const trajectory& rollout) {
        const auto [j, place] = owners_[i];
        rollout_query& query = queries[j];
        const std::size_t shared = query.first + place > 0 ? 1 : 0;
        const std::size_t fresh = rollout.tokens().size() - rollout.known;
        query.spent.baseline += rollout.rows - std::min(rollout.rows, shared);
        if (std::isnan(reward_of(queries, i))) return;  // it was never judged
        query.spent.reward += fresh + (rollout.recalled || shared > 0 ? 0 : 1);
    }

    [[nodiscard]] double& reward_of(std::span<rollout_query> queries, std::size_t i) const {
        return queries[owners_[i].query].rewards[owners_[i].place];
    }

    void judge(std::span<rollout_query> queries, std::span<const std::size_t> which,
               std::span<const trajectory> rollouts) {
        answers_.clear();
        for (const std::size_t i : which) {
            const rollout_query& query = queries[owners_[i].query];
            const token_view sequence = rollouts[i].sequence;
            answers_.push_back({.prompt = sequence.first(query.state.prompt_size),
                                .answer = sequence.subspan(query.state.prompt_size),
                                .finished = rollouts[i].finished ||
                                            is_end_token(query.candidate, query.state.end_tokens)});
        }
        rewards_.resize(answers_.size());
        score_answers(reward_, answers_, rewards_);
        for (std::size_t n = 0; n < which.size(); ++n) reward_of(queries, which[n]) = rewards_[n];
    }

    // Far from any token: independent rollouts fold in the candidate at this place.
    static constexpr std::uint64_t coupled_rollouts = std::uint64_t{1} << 40U;

    Baseline baseline_;
    Reward reward_;
    rollout_options options_;
    rollout_memory memory_;
    rollout_stats stats_;
    // Workspaces of one call, kept for their memory.
    std::vector<token_list> branches_;       // [queries] state and candidate
    std::vector<rollout_request> requests_;  // [rollouts of all queries]
    std::vector<owner> owners_;              // "
    std::vector<answer_view> answers_;       // [rollouts judged together]
    std::vector<double> rewards_;            // "
};

template <class Baseline, class Reward>
direct_transfer(Baseline&&, Reward&&, rollout_options = {}) -> direct_transfer<Baseline, Reward>;

}  // namespace tq
