#pragma once
// What the explain_... functions share: one wrong type, one error, one sentence.
//
// An explain_...<T>() holds the static_assert with the sentence, and returns true all the same: the
// static_assert around the call adds no second error, and however often it is asked about a type,
// the compiler says it once. Whoever goes on with a wrong type after that would make it print more;
// classes whose arguments are deduced go on with a stand-in (`usable_t`) instead.

#include <cstddef>
#include <span>
#include <type_traits>

#include "../core/token.hpp"

namespace tq::detail {

/// false, once T is known.
template <class T>
inline constexpr bool never = false;

/// Stands in for a policy or a baseline that is none. It is made from anything and never runs.
struct stand_in_policy {
    /// From whatever it stands in for.
    template <class... Wrong>
    constexpr stand_in_policy(Wrong&&...) noexcept {}
    /// Models policy.
    [[nodiscard]] static std::size_t vocab_size() noexcept { return 1; }
    /// Models policy.
    [[nodiscard]] static std::span<const logits_view> next_logits(
        std::span<const token_view>) noexcept {
        return {};
    }
};

/// Stands in for a reward that is none.
struct stand_in_reward {
    /// From whatever it stands in for.
    template <class... Wrong>
    constexpr stand_in_reward(Wrong&&...) noexcept {}
    /// Models single_reward.
    [[nodiscard]] double operator()(token_view, token_view) const noexcept { return 0; }
};

/// Stands in for an action value that is none.
struct stand_in_value {
    /// From whatever it stands in for.
    template <class... Wrong>
    constexpr stand_in_value(Wrong&&...) noexcept {}
    /// Models action_value.
    template <class Queries>
    void evaluate(Queries) const noexcept {}
};

/// T if it is what is wanted, else StandIn.
template <class T, bool right, class StandIn>
using usable_t = std::conditional_t<right, T, StandIn>;

}  // namespace tq::detail
