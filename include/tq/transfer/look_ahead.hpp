#pragma once
// What every transfer does first: rollouts of candidates, judged.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/baseline.hpp"
#include "../concepts/reward.hpp"
#include "../rollout/engine.hpp"
#include "../rollout/memory.hpp"

namespace tq::detail {

/// Plans the rollouts of candidates, runs them together, judges them in batches and counts what
/// they cost. See transfer for what is rolled out.
template <class Baseline, class Reward>
class look_ahead {
    static_assert(explain_baseline<std::remove_reference_t<Baseline>>());
    static_assert(explain_reward<std::remove_reference_t<Reward>>());

public:
    /// Throws invalid_option if an option is out of range. log_probability: find that of rollouts.
    look_ahead(Baseline&& baseline, Reward&& reward, const rollout_options& options,
               const std::string& where, bool log_probability)
        : baseline_(std::forward<Baseline>(baseline)),
          reward_(std::forward<Reward>(reward)),
          options_{options},
          log_probability_{log_probability} {
        validate(options, where);
        if (log_probability) validate_weighable(options.sampling, where);
    }

    /// Tokens of a rollout after the candidate.
    [[nodiscard]] std::size_t length(const decode_state& state, token_id candidate) const {
        return is_end_token(candidate, state.end_tokens) ? 0 : longest(state);
    }
    /// The same for candidates that do not end the answer.
    [[nodiscard]] std::size_t longest(const decode_state& state) const {
        return (std::min)(options_.horizon, state.tokens_left - 1);
    }
    /// 1 where none is needed.
    [[nodiscard]] std::size_t rollouts(const decode_state& state, token_id candidate) const {
        return length(state, candidate) == 0 ? 1 : options_.rollouts;
    }
    /// Is the candidate the last token, so that its answer is complete?
    [[nodiscard]] static bool complete(const decode_state& state, token_id candidate) {
        return is_end_token(candidate, state.end_tokens) || state.tokens_left == 1;
    }

    /// Fills in rewards and costs: as rollouts end, with progress(), or all together if it is
    /// empty. Returns the rollouts of all queries, one after another.
    std::vector<trajectory> run(std::span<rollout_query> queries,
                                const rollout_progress& progress) {
        plan(queries);
        rollout_judge judge{*this, queries, progress, requests_.size()};
        const bool remembers = options_.reuse && options_.sampling.greedy();
        std::vector<trajectory> all =
            remembers ? run_remembered_rollouts(baseline_, requests_, options_.sampling, memory_,
                                                options_.in_flight, judge, &stats_)
                      : run_rollouts(baseline_, requests_, options_.sampling, options_.in_flight,
                                     judge, &stats_);
        for (std::size_t i = 0; i < all.size(); ++i) account(queries, i, all[i]);
        return all;
    }

    /// The answer that rollout i of the last run makes.
    [[nodiscard]] answer_view answer(std::span<const rollout_query> queries, std::size_t i,
                                     const trajectory& rollout) const {
        const rollout_query& query = queries[owners_[i].query];
        const token_view sequence = rollout.sequence;
        return {
            .prompt = sequence.first(query.state.prompt_size),
            .answer = sequence.subspan(query.state.prompt_size),
            .finished = rollout.finished || is_end_token(query.candidate, query.state.end_tokens)};
    }

    /// A remembered rollout may have gone where the answer went without looking.
    [[nodiscard]] std::size_t unread(const decode_state& state) const {
        const std::size_t size = state.sequence.size();
        for (std::size_t n = 0; n < state.unread; ++n)
            if (memory_.recall(state.sequence.first(size - n), state.end_tokens).found) return n;
        return state.unread;
    }
    [[nodiscard]] bool reads_with(const void* model) const noexcept {
        return options_.horizon > 0 && model == static_cast<const void*>(std::addressof(baseline_));
    }
    [[nodiscard]] reward_range range() const { return range_of(reward_).value_or(reward_range{}); }
    [[nodiscard]] const rollout_options& options() const noexcept { return options_; }
    [[nodiscard]] const rollout_stats& stats() const noexcept { return stats_; }

private:
    /// The rollouts of one call: judges those that have ended. A batch is as large as what is still
    /// in flight, so that the judging costs no more than waiting would.
    struct rollout_judge {
        look_ahead& look;
        std::span<rollout_query> queries;
        const rollout_progress& progress;
        std::size_t open;                    // rollouts that have not ended
        std::vector<std::size_t> waiting{};  // that have ended and are not judged

        void ended(std::span<const std::size_t> which, std::span<const trajectory> all) {
            waiting.insert(waiting.end(), which.begin(), which.end());
            open -= which.size();
            if (progress ? waiting.size() >= open : open == 0) judge(all);
        }
        [[nodiscard]] bool wanted(std::size_t i) const {
            return queries[look.owners_[i].query].wanted;
        }
        void judge(std::span<const trajectory> all) {
            std::erase_if(waiting, [&](std::size_t i) { return !wanted(i); });
            std::sort(waiting.begin(), waiting.end());
            look.judge(queries, waiting, all);
            waiting.clear();
            if (progress) progress();
            open = 0;
            for (std::size_t i = 0; i < look.owners_.size(); ++i)
                open += wanted(i) && std::isnan(look.reward_of(queries, i));
        }
    };

    /// Which reward a request is for.
    struct owner {
        std::size_t query;
        std::size_t place;  // in its rewards
    };

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
            const random_key key =
                query.state.key.fold_in(static_cast<std::uint64_t>(query.candidate));
            for (std::size_t i = 0; i < query.rewards.size(); ++i) {
                owners_.push_back({j, i});
                requests_.push_back({.sequence = branches_[j],
                                     .max_tokens = length(query.state, query.candidate),
                                     .end_tokens = query.state.end_tokens,
                                     .key = key.fold_in(query.first + i),
                                     .prompt_size = query.state.prompt_size,
                                     .log_probability = log_probability_});
            }
        }
    }

    /// Model tokens that request i has cost, given up or not. The candidate is read once for all
    /// its rollouts.
    void account(std::span<rollout_query> queries, std::size_t i, const trajectory& rollout) {
        const auto [j, place] = owners_[i];
        rollout_query& query = queries[j];
        const std::size_t shared = query.first + place > 0 ? 1 : 0;
        const std::size_t fresh = rollout.tokens().size() - rollout.known;
        query.spent.baseline += rollout.rows - (std::min)(rollout.rows, shared);
        if (std::isnan(reward_of(queries, i))) return;  // it was never judged
        query.spent.reward += fresh + (rollout.recalled || shared > 0 ? 0 : 1);
    }

    [[nodiscard]] double& reward_of(std::span<rollout_query> queries, std::size_t i) const {
        return queries[owners_[i].query].rewards[owners_[i].place];
    }

    void judge(std::span<rollout_query> queries, std::span<const std::size_t> which,
               std::span<const trajectory> rollouts) {
        answers_.clear();
        for (const std::size_t i : which) answers_.push_back(answer(queries, i, rollouts[i]));
        rewards_.resize(answers_.size());
        score_answers(reward_, answers_, rewards_);
        for (std::size_t n = 0; n < which.size(); ++n) reward_of(queries, which[n]) = rewards_[n];
    }

    Baseline baseline_;
    Reward reward_;
    rollout_options options_;
    bool log_probability_;
    rollout_memory memory_;
    rollout_stats stats_;
    // Workspaces of one call, kept for their memory.
    std::vector<token_list> branches_;       // [queries] state and candidate
    std::vector<rollout_request> requests_;  // [rollouts of all queries]
    std::vector<owner> owners_;              // [rollouts of all queries]
    std::vector<answer_view> answers_;       // [rollouts judged together]
    std::vector<double> rewards_;            // [rollouts judged together]
};

}  // namespace tq::detail
