#pragma once
// action_value: Q(s, z) for a handful of candidates, and how sure it is.

#include <cstddef>
#include <limits>
#include <span>

#include "../core/trajectory.hpp"

namespace tq {

/// An estimate of Q(s, z).
struct value_estimate {
    double q = 0;  ///< in units of the reward
    /// Standard error of `q`: 0 = exact, NaN = unknown (a single rollout tells no spread).
    double standard_error = std::numeric_limits<double>::quiet_NaN();
    std::size_t rollouts = 0;  ///< how many rollouts it rests on; 0 = none were needed
};

/// One question: what are these candidates worth in this state?
struct value_query {
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
concept action_value =
    requires(Value& value, std::span<const value_query> queries) { value.evaluate(queries); };

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
    void evaluate(std::span<const value_query> queries) const noexcept {
        for (const value_query& query : queries)
            for (value_estimate& value : query.values)
                value = {.q = 0, .standard_error = 0, .rollouts = 0};
    }
};

}  // namespace tq
