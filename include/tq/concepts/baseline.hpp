#pragma once
// baseline: an already aligned model that looks ahead.

#include <concepts>
#include <span>
#include <type_traits>
#include <vector>

#include "../core/trajectory.hpp"
#include "policy.hpp"

namespace tq {

/// A model that finishes text by itself (a remote server, say).
///
/// Requirements:
///  1. `complete(requests, rule)` returns one trajectory for each request, in order; trajectory i
///     begins with requests[i].sequence, has start == that sequence's size, at most max_tokens
///     tokens after it, and no end token.
///  2. Two requests are independent draws unless their sequences and keys are equal.
///  3. Where a request asks for its log_probability it fills that in, or leaves it NaN if it cannot
///     (then there are no importance weights from probabilities). `rows` may count more than the
///     tokens, if more than one model read them.
///  4. It may throw backend_error; the object stays usable.
template <class Model>
concept completer = requires(Model& model, std::span<const rollout_request> requests,
                             sampling_rule rule) {
    { model.complete(requests, rule) } -> std::convertible_to<std::vector<trajectory>>;
};

/// What rollouts come from: a policy, whose tokens the rollout engine samples itself, or a
/// completer. A type that is both is used as a completer.
template <class Model>
concept baseline = policy<Model> || completer<Model>;

/// Fails to compile with one readable sentence if `Model` is not a baseline. Returns true: what is
/// wrong has been said.
template <class Model>
constexpr bool explain_baseline() {
    if constexpr (completer<Model>)
        return true;
    else if constexpr (requires(Model & model) { &Model::complete; })
        static_assert(detail::never<Model>,
                      "tq: `complete` of a baseline must take (std::span<const "
                      "tq::rollout_request>, tq::sampling_rule) and return a "
                      "std::vector<tq::trajectory>");
    else
        static_assert(explain_policy<Model>(),
                      "tq: a baseline is a policy or has `complete(requests, rule)`");
    return true;
}

namespace detail {
template <class T, bool explained = explain_baseline<std::remove_reference_t<T>>()>
using usable_baseline = usable_t<T, baseline<std::remove_reference_t<T>>, stand_in_policy>;
}  // namespace detail

}  // namespace tq
