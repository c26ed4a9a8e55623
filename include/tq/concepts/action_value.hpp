#pragma once
// action_value: Q(s, z) for a handful of candidates, and how sure it is.

#include <cstddef>
#include <limits>
#include <optional>
#include <span>

#include "../core/trajectory.hpp"
#include "../core/weight_diagnostics.hpp"
#include "reward.hpp"

namespace tq {

/// An estimate of Q(s, z).
struct value_estimate {
    double q = 0;  ///< in units of the reward
    /// Standard error of `q`: 0 = exact, NaN = unknown (a single rollout tells no spread).
    double standard_error = std::numeric_limits<double>::quiet_NaN();
    std::size_t rollouts = 0;  ///< how many rollouts it rests on; 0 = none were needed
    model_tokens spent = {};   ///< what it cost
    /// Of estimates from weighted rollouts: what the weights were like.
    std::optional<weight_diagnostics> weights = {};
};

/// One question: what are these candidates worth in this state?
struct value_query {
    /// The state s.
    decode_state state;
    token_view candidates;             ///< [n], distinct
    std::span<value_estimate> values;  ///< [n], to be filled
};

/// Anything that knows Q: rollouts (the transfers), a learned value head, a cached table.
///
/// Requirements:
///  1. `evaluate(queries)` fills every `values[i]` of every query. Queries of several prompts come
///     together so that their work can share model calls; results do not depend on what else is in
///     the batch.
///  2. Q values are finite, or -inf for a candidate that must not be chosen; never NaN.
///  3. It may throw; the object stays usable and nothing of the queries is read afterwards.
///
/// If a type is nearly an action_value, `tq::explain_action_value<T>()` says what is missing.
template <class Value>
concept action_value = requires(Value& value, std::span<const value_query> queries) {
    value.evaluate(queries);
};

/// Some rollouts of one candidate: numbers first, first + 1, ... up to rewards.size() of them.
struct rollout_query {
    /// The state s.
    decode_state state;
    /// The candidate z.
    token_id candidate = 0;
    std::size_t first = 0;      ///< which rollout comes first
    std::span<double> rewards;  ///< [count >= 1], to be filled; NaN = not there (yet)
    bool wanted = true;       ///< false: its rewards that are not there yet are of no use any more
    model_tokens spent = {};  ///< what it cost, to be filled
};

/// An action value that can be asked for piece by piece: Q is the mean of a fixed list of rollouts,
/// and any of them may be asked for at any time. This is what a race needs to stop early.
///
/// Requirements, besides those of action_value:
///  1. `rollouts(state, candidate)` >= 1 is the number of rollouts n that `evaluate` would average.
///  2. `sample(queries)` fills in the rewards of the rollouts asked for, first + count <= n. Rollout
///     i of a candidate in a state (with its keys) is always the same.
///  3. `combine(state, candidate, rewards)` is the value_estimate of the first rewards.size() ones;
///     with all n it is what `evaluate` gives (`spent` aside), to the last bit.
///  4. `range()` holds every reward: a reward_range, infinite if nothing is known.
///  5. `cost(state)` is the number of model tokens that one rollout takes at most.
template <class Value>
concept sampled_value = action_value<Value> &&
    requires(Value& value, const decode_state& state, token_id candidate,
             std::span<rollout_query> queries, std::span<const double> rewards) {
    { value.rollouts(state, candidate) } -> std::convertible_to<std::size_t>;
    { value.cost(state) } -> std::convertible_to<std::size_t>;
    { value.combine(state, candidate, rewards) } -> std::convertible_to<value_estimate>;
    { value.range() } -> std::convertible_to<reward_range>;
    value.sample(queries);
};

/// A sampled_value that says how it goes: `sample(queries, progress)` calls `progress()` whenever
/// some rewards have come in. What is then marked as not `wanted` is given up.
template <class Value>
concept streamed_value = sampled_value<Value> &&
    requires(Value& value, std::span<rollout_query> queries, void (*progress)()) {
    value.sample(queries, progress);
};

/// An action value whose every Q lies in a range, all at once: candidates that cannot win are never
/// asked for. `range()` is a reward_range, infinite if nothing is known; `cost(state)` is the number
/// of model tokens that one candidate takes at most.
template <class Value>
concept bounded_value = action_value<Value> && requires(Value& value, const decode_state& state) {
    { value.range() } -> std::convertible_to<reward_range>;
    { value.cost(state) } -> std::convertible_to<std::size_t>;
};

/// sample, with progress where the value tells of it.
template <sampled_value Value, class Progress>
void sample_rewards(Value& value, std::span<rollout_query> queries, Progress progress) {
    if constexpr (streamed_value<Value>)
        value.sample(queries, progress);
    else
        value.sample(queries);
}

/// Fails to compile with one readable sentence if `Value` is not an action_value.
template <class Value>
constexpr bool explain_action_value() {
    static_assert(action_value<Value>,
                  "tq: an action value needs `evaluate(std::span<const tq::value_query>)` that "
                  "fills the `values` of each query");
    return action_value<Value>;
}

/// Q = 0 for everything: decoding with it is the frozen anchor model itself.
struct zero_value {
    /// Models action_value.
    void evaluate(std::span<const value_query> queries) const noexcept {
        for (const value_query& query : queries)
            for (value_estimate& value : query.values) value = {.q = 0, .standard_error = 0};
    }
};

}  // namespace tq
