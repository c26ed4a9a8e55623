#pragma once
// The action value of Transfer Q*: baseline x reward x estimator.

#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/estimator.hpp"
#include "../estimate/mean.hpp"
#include "look_ahead.hpp"
#include "rollout_weights.hpp"

namespace tq {

/// Q(s, z) of answers that a baseline finishes: rollouts of every candidate, judged by a reward,
/// and made a value by an estimator. direct_transfer, indirect_transfer and soft_transfer are names
/// for it with the estimators mean, importance and soft; any other will do.
///
/// All rollouts of all candidates (of all prompts) run together in the rollout engine, and their
/// answers are judged in batches.
///
///  * A candidate that ends the answer, or fills it, is judged as it stands: no rollout, error 0.
///  * A rollout has min(horizon, tokens left after the candidate) tokens at most.
///  * A rollout cut by the horizon is judged as if it were the answer.
///  * horizon 0 judges answer + candidate (ARGS, arXiv 2402.01694).
///  * Greedy rollouts and horizon 0 have no sampling error, but their Q is that of the greedy or
///    cut baseline; their standard error is NaN, "unknown".
///
/// It is a bounded_value; with an estimator that is piecewise (mean) a piecewise_value, so that a
/// race can drop a candidate in the middle of its rollouts. Rollouts for importance weights must be
/// sampled (temperature > 0, top_p 1) if the weights need their probabilities.
///
/// Lvalue arguments are held by reference and must outlive the object; rvalues are moved in.
/// threads: one object per thread. Source: arXiv 2405.20495.
template <class Baseline, class Reward, class Estimator = mean>
class transfer {
    using estimator_type = std::remove_reference_t<Estimator>;
    static_assert(tq::estimator<estimator_type>,
                  "tq: an estimator needs `estimate(std::span<const double> rewards, "
                  "std::span<const double> log_weights)` returning tq::value_estimate and "
                  "`range(tq::reward_range)` returning tq::reward_range");
    static constexpr bool weighted = weighted_estimator<estimator_type>;
    static constexpr bool piecewise = piecewise_estimator<estimator_type> && !weighted;

public:
    /// Throws invalid_option, beginning with `where`, if an option is out of range.
    transfer(Baseline&& baseline, Reward&& reward, Estimator&& estimator,
             rollout_options options = {}, const std::string& where = "transfer")
        : estimator_(std::forward<Estimator>(estimator)),
          look_{std::forward<Baseline>(baseline), std::forward<Reward>(reward), options, where,
                needs_log_probabilities()} {}

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) {
        asked all{queries, look_};
        const std::vector<trajectory> rollouts = look_.run(all.queries, {});
        std::vector<double> log_weights;
        if constexpr (weighted) log_weights = weigh(all, rollouts);
        std::size_t candidate = 0, first = 0;
        for (const value_query& query : queries) {
            std::vector<judged_candidate> judged;
            for (std::size_t i = 0; i < query.values.size(); ++i) {
                const std::span<const double> rewards = all.queries[candidate + i].rewards;
                std::span<const double> logs{log_weights};
                if constexpr (weighted) logs = logs.subspan(first, rewards.size());
                judged.push_back({rewards, logs});
                first += rewards.size();
            }
            estimate(query, judged);
            for (value_estimate& value : query.values) value.spent = all.queries[candidate++].spent;
        }
    }

    /// Models piecewise_value: 1 where no rollout is needed.
    [[nodiscard]] std::size_t rollouts(const decode_state& state,
                                       token_id candidate) const requires piecewise {
        return look_.rollouts(state, candidate);
    }
    /// Models piecewise_value: all rollouts asked for run together. Without progress they are
    /// judged in one call, with it as they end, in batches.
    void sample(std::span<rollout_query> queries,
                const rollout_progress& progress = {}) requires piecewise {
        look_.run(queries, progress);
    }
    /// Models piecewise_value.
    [[nodiscard]] value_estimate combine(const decode_state& state, token_id candidate,
                                         std::span<const double> rewards) const requires piecewise {
        return estimate(state, candidate, rewards, {});
    }

    /// Model tokens at most, of a rollout if it is a piecewise_value, else of a candidate: tokens
    /// read by baseline and reward and, for weights from probabilities, the policy.
    [[nodiscard]] std::size_t cost(const decode_state& state) const {
        const std::size_t readers = needs_log_probabilities() ? 3 : 2;
        return (piecewise ? 1 : look_.options().rollouts) * (1 + readers * look_.longest(state));
    }
    /// Is this the model that writes the rollouts, so that what it reads elsewhere it need not read
    /// again?
    [[nodiscard]] bool reads_with(const void* model) const noexcept {
        return look_.reads_with(model);
    }
    /// How many of the tokens at the answer's end its models have not read in earlier rollouts, for
    /// counting.
    [[nodiscard]] std::size_t unread(const decode_state& state) const {
        return look_.unread(state);
    }
    /// What every Q lies in, by the reward's range and the estimator.
    [[nodiscard]] reward_range range() const { return estimator_.range(look_.range()); }

    [[nodiscard]] const rollout_options& options() const noexcept { return look_.options(); }
    [[nodiscard]] const rollout_stats& stats() const noexcept { return look_.stats(); }
    [[nodiscard]] const estimator_type& estimator() const noexcept { return estimator_; }

private:
    using look_type = detail::look_ahead<Baseline, Reward>;

    /// A question about each candidate of some value queries, with all its rollouts.
    struct asked {
        std::vector<double> rewards;         // [all rollouts]
        std::vector<rollout_query> queries;  // [all candidates], their rewards in the above

        asked(std::span<const value_query> wanted, const look_type& look) {
            std::vector<std::size_t> counts;
            std::size_t total = 0;
            for (const value_query& query : wanted)
                for (const token_id candidate : query.candidates) {
                    counts.push_back(look.rollouts(query.state, candidate));
                    total += counts.back();
                }
            rewards.resize(total);
            std::span<double> rest{rewards};
            for (const value_query& query : wanted)
                for (const token_id candidate : query.candidates) {
                    const std::size_t count = counts[queries.size()];
                    queries.push_back({query.state, candidate, 0, rest.first(count)});
                    rest = rest.subspan(count);
                }
        }
    };

    [[nodiscard]] static constexpr bool needs_log_probabilities() {
        if constexpr (weighted)
            return std::remove_cvref_t<
                decltype(std::declval<estimator_type&>().weights())>::needs_log_probabilities;
        else
            return false;
    }

    /// Is the candidate worth what the estimator says, or its reward?
    [[nodiscard]] bool estimated(const decode_state& state, token_id candidate) const {
        if constexpr (requires { estimator_.weighs_endings(); })
            if (estimator_.weighs_endings()) return true;
        return look_.length(state, candidate) > 0;
    }

    /// All candidates of a query.
    void estimate(const value_query& query, std::span<const judged_candidate> judged) const {
        constexpr bool together = requires {
            estimator_.estimate_together(judged, look_.range(), query.values);
        };
        if constexpr (together) estimator_.estimate_together(judged, look_.range(), query.values);
        for (std::size_t i = 0; i < judged.size(); ++i) {
            const token_id candidate = query.candidates[i];
            value_estimate& value = query.values[i];
            if constexpr (!together)
                value = estimate(query.state, candidate, judged[i].rewards, judged[i].log_weights);
            else if (look_.complete(query.state, candidate))
                value = {.q = value.q, .standard_error = 0};
        }
    }
    [[nodiscard]] value_estimate estimate(const decode_state& state, token_id candidate,
                                          std::span<const double> rewards,
                                          std::span<const double> log_weights) const {
        if (estimated(state, candidate)) return estimator_.estimate(rewards, log_weights);
        constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
        return {.q = rewards.front(),
                .standard_error = look_.complete(state, candidate) ? 0 : unknown};
    }

    /// log w of all rollouts, [all rollouts]; those that are not weighed keep 0.
    [[nodiscard]] std::vector<double> weigh(asked& all, std::span<const trajectory> rollouts) {
        std::vector<judged_rollout> judged;
        std::vector<std::size_t> places;
        for (std::size_t j = 0, i = 0; j < all.queries.size(); ++j) {
            const rollout_query& query = all.queries[j];
            const std::size_t end = i + query.rewards.size();
            for (; i < end; ++i) {
                if (!estimated(query.state, query.candidate)) continue;
                const trajectory& rollout = rollouts[i];
                judged.push_back(
                    {look_.answer(all.queries, i, rollout),
                     {rollout.sequence, rollout.start, rollout.finished, query.state.end_tokens},
                     rollout.log_probability,
                     all.rewards[i]});
                places.push_back(i);
            }
        }
        std::vector<double> result(all.rewards.size(), 0.0);
        if (judged.empty()) return result;
        std::vector<double> found(judged.size());
        const model_tokens spent = estimator_.weights().weigh(judged, found);
        for (std::size_t n = 0; n < places.size(); ++n) {
            if (std::isnan(found[n]))
                throw backend_error{"importance weights: the log weight of rollout " +
                                    std::to_string(n) + " of " + std::to_string(places.size()) +
                                    " is NaN"};
            result[places[n]] = found[n];
        }
        share_cost(all, spent, judged.size());
        return result;
    }

    /// Charges candidates with what the weighing cost, by their rollouts.
    void share_cost(asked& all, const model_tokens& spent, std::size_t rollouts) const {
        std::size_t done = 0, charged_policy = 0, charged_reward = 0;
        for (rollout_query& query : all.queries) {
            if (!estimated(query.state, query.candidate)) continue;
            done += query.rewards.size();
            const std::size_t policy = spent.policy * done / rollouts;
            const std::size_t reward = spent.reward * done / rollouts;
            query.spent.policy += policy - std::exchange(charged_policy, policy);
            query.spent.reward += reward - std::exchange(charged_reward, reward);
        }
    }

    Estimator estimator_;
    look_type look_;
};

template <class Baseline, class Reward, class Estimator>
transfer(Baseline&&, Reward&&, Estimator&&, rollout_options = {})
    -> transfer<detail::usable_baseline<Baseline>, detail::usable_reward<Reward>, Estimator>;

}  // namespace tq
