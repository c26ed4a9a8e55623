#pragma once
// reward: judges whole answers.

#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "explain.hpp"

namespace tq {

/// The interval a reward's values lie in, lo <= hi.
struct reward_range {
    /// Lower end.
    double lo = -std::numeric_limits<double>::infinity();
    /// Upper end.
    double hi = std::numeric_limits<double>::infinity();
};

/// A reward that judges many answers in one call.
template <class Judge>
concept batch_reward = requires(Judge& judge, std::span<const answer_view> answers,
                                std::span<double> values) {
    judge.score(answers, values);
};

/// A reward that is a function of one prompt and one answer; a lambda will do.
template <class Judge>
concept single_reward = requires(Judge& judge, token_view prompt, token_view answer) {
    { judge(prompt, answer) } -> std::convertible_to<double>;
};

/// Judges answers: r(x, y).
///
/// Requirements:
///  1. Either `score(answers, values)` fills values[i] with the reward of answers[i], both of the
///     same size n >= 1; or a call `judge(prompt, answer)` returns the reward of one answer.
///  2. Values are finite. A value does not depend on the other answers of the batch (engines may
///     add float noise).
///  3. An answer may be empty, and may be cut in the middle (`finished` false).
///  4. It may throw; the object stays usable.
///
/// Optional: `range() const` returning a reward_range that holds for every value. A stated range is
/// checked, and lets decoders drop candidates that cannot win.
///
/// If a type is nearly a reward, `tq::explain_reward<T>()` says what is missing.
template <class Judge>
concept reward = batch_reward<Judge> || single_reward<Judge>;

namespace detail {

template <class Judge>
concept has_range = requires {
    &Judge::range;
};
template <class Judge>
concept calls_range = requires(Judge& judge) {
    judge.range();
};
template <class Judge>
concept names_range = has_range<Judge> || calls_range<Judge>;
template <class Judge>
concept states_range = requires(const Judge& judge) {
    { judge.range() } -> std::convertible_to<reward_range>;
};
template <class Judge>
concept called_with_views = requires(Judge& judge, token_view view) {
    judge(view, view);
};

/// Fails to compile if `Judge` has a range that nobody would see.
template <class Judge>
constexpr bool explain_range() {
    if constexpr (names_range<Judge>)
        static_assert(
            states_range<Judge>,
            "tq: `range()` of a reward must be const and return a tq::reward_range, not a "
            "pair or an array");
    return true;
}

}  // namespace detail

/// Fails to compile with one readable sentence if `Judge` is not a reward, or has an optional
/// member that nobody would see. Returns true: what is wrong has been said.
template <class Judge>
constexpr bool explain_reward() {
    if constexpr (reward<Judge>)
        return detail::explain_range<std::remove_cv_t<Judge>>();
    else if constexpr (reward<std::remove_const_t<Judge>>)
        static_assert(
            detail::never<Judge>,
            "tq: this reward is const and its members are not: pass one that is not const, "
            "or make `score` or the call const");
    else if constexpr (detail::called_with_views<Judge>)
        static_assert(detail::never<Judge>,
                      "tq: a reward called with (prompt, answer) must return a number");
    else
        static_assert(detail::never<Judge>,
                      "tq: a reward needs `score(std::span<const tq::answer_view>, "
                      "std::span<double>)` or a call with (tq::token_view prompt, tq::token_view "
                      "answer) that returns a number, public");
    return true;
}

namespace detail {

/// T if it is a reward, else a stand-in, after the compiler has said why.
template <class T, bool explained = explain_reward<std::remove_reference_t<T>>()>
using usable_reward = usable_t<T, reward<std::remove_reference_t<T>>, stand_in_reward>;

}  // namespace detail

/// The range a reward states, if it does.
template <class Judge>
[[nodiscard]] std::optional<reward_range> range_of(const Judge& judge) {
    static_assert(detail::explain_range<Judge>());
    if constexpr (detail::states_range<Judge>)
        return judge.range();
    else
        return std::nullopt;
}

namespace detail {

/// Throws backend_error, beginning with `where`, if a value is not finite or not in `range`. What
/// float rounding takes beyond its edges is cut off: a race relies on the range.
inline void keep_in_range(std::span<double> values, reward_range range, std::string_view where) {
    constexpr double slack = 1e-6;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(values[i]) || values[i] < range.lo - slack ||
            values[i] > range.hi + slack)
            throw backend_error{std::string{where} + ": value " + std::to_string(values[i]) +
                                " of answer " + std::to_string(i) + " of " +
                                std::to_string(values.size()) + ", must be finite and in [" +
                                std::to_string(range.lo) + ", " + std::to_string(range.hi) + "]"};
        values[i] = (std::min)((std::max)(values[i], range.lo), range.hi);
    }
}

}  // namespace detail

/// Scores `answers` into `values` (same size), whichever form the reward has.
/// Throws backend_error, which begins with `where`, if a value is NaN or infinite, or outside the
/// range the reward states by more than 1e-6.
template <reward Judge>
void score_answers(Judge& judge, std::span<const answer_view> answers, std::span<double> values,
                   std::string_view where = "reward") {
    if (answers.empty()) return;
    if constexpr (batch_reward<Judge>)
        judge.score(answers, values);
    else
        for (std::size_t i = 0; i < answers.size(); ++i)
            values[i] = static_cast<double>(judge(answers[i].prompt, answers[i].answer));
    detail::keep_in_range(values.first(answers.size()), range_of(judge).value_or(reward_range{}),
                          where);
}

/// Gives a reward of class type a range it does not state itself: `bounded{judge, {0, 1}}`.
template <class Judge>
struct bounded : Judge {
    /// The same reward with a range; every value is checked against it.
    bounded(Judge judge, reward_range range) : Judge{std::move(judge)}, range_{range} {}
    /// What every value lies in.
    [[nodiscard]] reward_range range() const noexcept { return range_; }

private:
    reward_range range_;
};

}  // namespace tq
