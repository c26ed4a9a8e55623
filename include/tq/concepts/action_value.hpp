#pragma once
// action_value: Q(s, z) for a handful of candidates, and how sure it is.

#include <cmath>
#include <concepts>
#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <type_traits>

#include "../core/trajectory.hpp"
#include "estimator.hpp"
#include "explain.hpp"

namespace tq {

/// One question: what are these candidates worth in this state?
struct value_query {
    decode_state state;                ///< the state s
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
/// A value that can say more is raced (decode/race.hpp): see bounded_value and piecewise_value.
/// If a type is nearly an action_value, `tq::explain_action_value<T>()` says what is missing.
template <class Value>
concept action_value = requires(Value& value, std::span<const value_query> queries) {
    value.evaluate(queries);
};

/// An action value that says what it may be and what it costs: candidates that cannot win are never
/// asked for, and a budget of model tokens holds.
///
///  1. `range()` holds every Q: a reward_range, infinite if nothing is known.
///  2. `cost(state)` is the number of model tokens that one candidate takes at most; of a
///     piecewise_value, one rollout.
template <class Value>
concept bounded_value = action_value<Value> && requires(Value& value, const decode_state& state) {
    { value.range() } -> std::convertible_to<reward_range>;
    { value.cost(state) } -> std::convertible_to<std::size_t>;
};

/// Some rollouts of one candidate: numbers first, first + 1, ... up to rewards.size() of them.
struct rollout_query {
    decode_state state;         ///< the state s
    token_id candidate = 0;     ///< the candidate z
    std::size_t first = 0;      ///< which rollout comes first
    std::span<double> rewards;  ///< [count >= 1], to be filled; NaN = not there (yet)
    bool wanted = true;         ///< false: what is not there yet is of no use any more
    model_tokens spent = {};    ///< what it cost, to be filled
};

/// Called while rollouts run, whenever some rewards have come in.
using rollout_progress = std::function<void()>;

/// A bounded value that can be asked for piece by piece: Q is the mean of a fixed list of rollouts
/// (one, if they are greedy), and any of them may be asked for at any time.
///
/// Requirements, besides those of bounded_value:
///  1. `rollouts(state, candidate)` >= 1 is the number of rollouts n that `evaluate` would average.
///  2. `sample(queries, progress)` fills in the rewards of the rollouts asked for, first + count <=
///     n. Rollout i of a candidate in a state (with its keys) is always the same. It may call
///     progress() whenever some rewards are there, and give up what is then marked as not `wanted`.
///  3. `combine(state, candidate, rewards)` is the value_estimate of the first rewards.size() ones;
///     with all n it is what `evaluate` gives (`spent` aside), to the last bit.
///  4. `range()` holds every single reward.
template <class Value>
concept piecewise_value = bounded_value<Value> &&
    requires(Value& value, const decode_state& state, token_id candidate,
             std::span<rollout_query> queries, const rollout_progress& progress,
             std::span<const double> rewards) {
    { value.rollouts(state, candidate) } -> std::convertible_to<std::size_t>;
    { value.combine(state, candidate, rewards) } -> std::convertible_to<value_estimate>;
    value.sample(queries, progress);
};

namespace detail {
template <class Value>
concept value_with_range = requires(Value& value) {
    value.range();
};
template <class Value>
concept value_with_sample = requires {
    &Value::sample;
};
}  // namespace detail

/// Fails to compile with one readable sentence if `Value` is not an action_value, or nearly says
/// more. Returns true: what is wrong has been said.
template <class Value>
constexpr bool explain_action_value() {
    if constexpr (!action_value<Value>)
        static_assert(
            detail::never<Value>,
            "tq: an action value needs `evaluate(std::span<const tq::value_query>)`, public, "
            "that fills the `values` of each query");
    else if constexpr (detail::value_with_range<Value> && !bounded_value<Value>)
        static_assert(
            detail::never<Value>,
            "tq: an action value with a `range()` must return a tq::reward_range from it and "
            "have `cost(const tq::decode_state&)`, the model tokens a candidate takes");
    else if constexpr (detail::value_with_sample<Value> && !piecewise_value<Value>)
        static_assert(
            detail::never<Value>,
            "tq: an action value with a `sample` must take (std::span<tq::rollout_query>, "
            "const tq::rollout_progress&) and have `rollouts(state, candidate)`, "
            "`combine(state, candidate, rewards)`, `range()` and `cost(state)`");
    return true;
}

namespace detail {
template <class T, bool explained = explain_action_value<std::remove_reference_t<T>>()>
using usable_value = usable_t<T, action_value<std::remove_reference_t<T>>, stand_in_value>;
}  // namespace detail

/// What every Q of a value lies in; infinite if it does not say.
template <action_value Value>
[[nodiscard]] reward_range value_range(Value& value) {
    if constexpr (bounded_value<Value>)
        return value.range();
    else
        return {};
}

/// Is the range known, so that a race can drop candidates by it?
[[nodiscard]] inline bool is_finite(reward_range range) noexcept {
    return std::isfinite(range.hi - range.lo);
}

/// Q = 0 for everything, at no cost: decoding with it is the anchor itself, cut to top_k.
struct zero_value {
    /// Models action_value.
    void evaluate(std::span<const value_query> queries) const noexcept {
        for (const value_query& query : queries)
            for (value_estimate& value : query.values) value = {.q = 0, .standard_error = 0};
    }
};

}  // namespace tq
