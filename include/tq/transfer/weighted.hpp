#pragma once
// What indirect and soft transfer share: rollouts, their rewards and their weights.

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../estimate/importance.hpp"
#include "look_ahead.hpp"
#include "rollout_weights.hpp"

namespace tq::detail {

/// Rolls candidates out, judges and weighs the rollouts, and estimates each candidate's value.
template <class Baseline, class Reward, class Weights>
class weighted_rollouts {
    static_assert(explain_rollout_weights<std::remove_reference_t<Weights>>());
    static constexpr bool needs_log_probabilities =
        std::remove_reference_t<Weights>::needs_log_probabilities;

public:
    /// weigh_all: also those candidates that need no rollout, whose value is their reward.
    weighted_rollouts(Baseline&& baseline, Reward&& reward, Weights&& weights,
                      const rollout_options& options, const std::string& where, bool weigh_all)
        : look_{std::forward<Baseline>(baseline), std::forward<Reward>(reward), options, where,
                needs_log_probabilities},
          weights_(std::forward<Weights>(weights)),
          weigh_all_{weigh_all} {}

    /// estimate(rewards, log_weights) is the value of a candidate.
    template <class Estimate>
    void evaluate(std::span<const value_query> queries, Estimate estimate) {
        candidate_queries asked{queries, [&](const decode_state& state, token_id token) {
                                    return look_.rollouts(state, token);
                                }};
        const std::vector<trajectory> rollouts = look_.run(
            asked.queries, [] {}, false);
        const std::vector<double> log_weights = weigh(asked, rollouts);
        std::size_t candidate = 0, first = 0;
        for (const value_query& query : queries)
            for (value_estimate& value : query.values) {
                const rollout_query& done = asked.queries[candidate++];
                value = weighed(done) ? estimate(done.rewards, std::span{log_weights}.subspan(
                                                                   first, done.rewards.size()))
                                      : unweighed(done);
                value.spent = done.spent;
                first += done.rewards.size();
            }
    }

    /// Model tokens that a candidate takes at most: read by baseline, reward and, for implicit weights,
    /// the policy.
    [[nodiscard]] std::size_t cost(const decode_state& state) const {
        const std::size_t readers = needs_log_probabilities ? 3 : 2;
        return look_.options().rollouts * (1 + readers * look_.longest(state));
    }

    [[nodiscard]] const look_ahead<Baseline, Reward>& look() const noexcept { return look_; }
    [[nodiscard]] const Weights& weights() const noexcept { return weights_; }

private:
    [[nodiscard]] bool weighed(const rollout_query& query) const {
        return weigh_all_ || look_.length(query.state, query.candidate) > 0;
    }

    /// The value of an answer that is judged as it stands.
    [[nodiscard]] value_estimate unweighed(const rollout_query& query) const {
        const bool exact = look_.complete(query.state, query.candidate);
        return {.q = query.rewards.front(), .standard_error = exact ? 0 : infinity};
    }

    /// log w of all rollouts, [all rollouts]; those that are not weighed keep 0.
    [[nodiscard]] std::vector<double> weigh(candidate_queries& asked,
                                            std::span<const trajectory> rollouts) {
        std::vector<judged_rollout> judged;
        std::vector<std::size_t> places;
        for (std::size_t j = 0, i = 0; j < asked.queries.size(); ++j) {
            const rollout_query& query = asked.queries[j];
            const std::size_t end = i + query.rewards.size();
            for (; i < end; ++i) {
                if (!weighed(query)) continue;
                const trajectory& rollout = rollouts[i];
                judged.push_back(
                    {look_.answer(asked.queries, i, rollout),
                     {rollout.sequence, rollout.start, rollout.finished, query.state.end_tokens},
                     rollout.log_probability,
                     asked.rewards[i]});
                places.push_back(i);
            }
        }
        std::vector<double> result(asked.rewards.size(), 0.0);
        if (judged.empty()) return result;
        std::vector<double> found(judged.size());
        const model_tokens spent = weights_.weigh(judged, found);
        for (std::size_t n = 0; n < places.size(); ++n) result[places[n]] = found[n];
        share_cost(asked, spent, judged.size());
        return result;
    }

    /// Charges candidates with what the weighing cost, by their rollouts.
    void share_cost(candidate_queries& asked, const model_tokens& spent, std::size_t rollouts) {
        std::size_t done = 0, charged_policy = 0, charged_reward = 0;
        for (rollout_query& query : asked.queries) {
            if (!weighed(query)) continue;
            done += query.rewards.size();
            const std::size_t policy = spent.policy * done / rollouts;
            const std::size_t reward = spent.reward * done / rollouts;
            query.spent.policy += policy - std::exchange(charged_policy, policy);
            query.spent.reward += reward - std::exchange(charged_reward, reward);
        }
    }

    look_ahead<Baseline, Reward> look_;
    Weights weights_;
    bool weigh_all_;
};

}  // namespace tq::detail
