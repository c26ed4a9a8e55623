#pragma once
// policy: a frozen causal language model as a pure function on sequences, in batches.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>  // and with it std::ranges::borrowed_range: all of <ranges> is slow to compile
#include <string>
#include <type_traits>

#include "../core/error.hpp"
#include "../core/token.hpp"
#include "explain.hpp"

namespace tq {

/// A frozen causal model.
///
/// Requirements:
///  1. `vocab_size()` is the number of tokens V >= 1; it never changes.
///  2. `next_logits(sequences)` takes n >= 1 sequences, each non-empty and of tokens in [0, V), and
///     returns n rows in the same order; row i holds V raw (unnormalised) logits of the token that
///     follows sequences[i]. -inf forbids a token; NaN is an error that the caller reports.
///  3. Rows are views, and so is what holds them (a span, or a reference to a member): both stay
///     valid until the next non-const call on the same object. Rows of equal sequences may be the
///     same memory.
///  4. It is a pure function: the same sequence gives the same row, whatever came before and
///     whatever else is in the batch (engines may add float noise; they should say how much).
///     Prefix caching is the model's own business; successive calls share long prefixes.
///  5. It may throw backend_error; the object stays usable. It need not be thread-safe.
///
/// Optional: `end_tokens()` (view of the tokens that end an answer) and `max_batch()` (largest
/// useful number of sequences a call; default 64).
///
/// If a type is nearly a policy, `tq::explain_policy<T>()` says what is missing.
template <class Model>
concept policy = requires(Model& model, std::span<const token_view> sequences) {
    { model.vocab_size() } -> std::convertible_to<std::size_t>;
    { model.next_logits(sequences) } -> std::convertible_to<std::span<const logits_view>>;
    requires std::ranges::borrowed_range<decltype(model.next_logits(sequences))>;
};

namespace detail {

template <class Model>
concept has_vocab_size = requires(Model& model) {
    { model.vocab_size() } -> std::convertible_to<std::size_t>;
};
template <class Model>
concept has_next_logits = requires(Model& model, std::span<const token_view> sequences) {
    model.next_logits(sequences);
};
template <class Model>
concept returns_rows = requires(Model& model, std::span<const token_view> sequences) {
    { model.next_logits(sequences) } -> std::convertible_to<std::span<const logits_view>>;
};

// Is there a public member of this name, whatever it is?
template <class Model>
concept has_end_tokens = requires {
    &Model::end_tokens;
};
template <class Model>
concept calls_end_tokens = requires(Model& model) {
    model.end_tokens();
};
template <class Model>
concept names_end_tokens = has_end_tokens<Model> || calls_end_tokens<Model>;
template <class Model>
concept has_max_batch = requires {
    &Model::max_batch;
};
template <class Model>
concept calls_max_batch = requires(Model& model) {
    model.max_batch();
};
template <class Model>
concept names_max_batch = has_max_batch<Model> || calls_max_batch<Model>;
template <class Model>
concept calls_eos = requires(Model& model) {
    model.eos();
};
template <class Model>
concept calls_eos_token = requires(Model& model) {
    model.eos_token();
};
template <class Model>
concept calls_end_token = requires(Model& model) {
    model.end_token();
};
template <class Model>
concept names_one_end_token = calls_eos<Model> || calls_eos_token<Model> || calls_end_token<Model>;

template <class Model>
concept states_end_tokens = requires(const Model& model) {
    token_view{model.end_tokens()};
    requires std::ranges::borrowed_range<decltype(model.end_tokens())>;
};
template <class Model>
concept states_max_batch = requires(const Model& model) {
    { model.max_batch() } -> std::integral;
    requires !std::same_as<std::remove_cvref_t<decltype(model.max_batch())>, bool>;
};

/// Fails to compile if `Model` has end tokens that nobody would see.
template <class Model>
constexpr bool explain_end_tokens() {
    if constexpr (names_end_tokens<Model>)
        static_assert(
            states_end_tokens<Model>,
            "tq: `end_tokens()` of a policy must be const and return a tq::token_view or a "
            "reference to a container of tq::token_id, not one token and not a container "
            "that is gone after the call");
    else
        static_assert(!names_one_end_token<Model>,
                      "tq: a policy states what ends an answer by `end_tokens()`, which returns a "
                      "tq::token_view: nobody asks for one end token");
    return true;
}

/// Fails to compile if `Model` has a batch size that nobody would see.
template <class Model>
constexpr bool explain_max_batch() {
    if constexpr (names_max_batch<Model>)
        static_assert(states_max_batch<Model>,
                      "tq: `max_batch()` of a policy must be const and return an integer, the "
                      "largest useful number of sequences a call");
    return true;
}

}  // namespace detail

/// Fails to compile with one readable sentence if `Model` is not a policy, or has an optional
/// member that nobody would see. Returns true: what is wrong has been said.
template <class Model>
constexpr bool explain_policy() {
    if constexpr (policy<Model>)
        return detail::explain_end_tokens<std::remove_cv_t<Model>>() &&
               detail::explain_max_batch<std::remove_cv_t<Model>>();
    else if constexpr (std::is_pointer_v<Model>)
        static_assert(detail::never<Model>,
                      "tq: a pointer is no policy: pass what it points to (`*model`)");
    else if constexpr (policy<std::remove_const_t<Model>>)
        static_assert(
            detail::never<Model>,
            "tq: this policy is const and its members are not: pass one that is not const, "
            "or make `vocab_size` and `next_logits` const");
    else if constexpr (!detail::has_vocab_size<Model>)
        static_assert(detail::never<Model>,
                      "tq: a policy needs `vocab_size()` returning the number of tokens, public");
    else if constexpr (!detail::has_next_logits<Model>)
        static_assert(
            detail::never<Model>,
            "tq: a policy needs `next_logits(std::span<const tq::token_view>)`, public: n "
            "sequences in, n rows of logits out");
    else if constexpr (detail::returns_rows<Model>)
        static_assert(detail::never<Model>,
                      "tq: `next_logits` of a policy must return a view of its rows "
                      "(std::span<const tq::logits_view>), or a reference to a container of them, "
                      "not one that is gone after the call");
    else
        static_assert(detail::never<Model>,
                      "tq: `next_logits` of a policy must return a std::span<const "
                      "tq::logits_view>, one row of float for each sequence, or a reference to a "
                      "container of them");
    return true;
}

namespace detail {

/// T if it is a policy, else a stand-in, after the compiler has said why.
template <class T, bool explained = explain_policy<std::remove_reference_t<T>>()>
using usable_policy = usable_t<T, policy<std::remove_reference_t<T>>, stand_in_policy>;

}  // namespace detail

/// The number of tokens in a model's vocabulary, whatever integer the model states it in.
template <class Model>
[[nodiscard]] std::size_t vocab_size_of(Model& model) {
    return static_cast<std::size_t>(model.vocab_size());
}

/// The end tokens a model knows of; none if it does not say.
template <class Model>
[[nodiscard]] token_view end_tokens_of(const Model& model) {
    static_assert(detail::explain_end_tokens<Model>());
    if constexpr (detail::states_end_tokens<Model>)
        return token_view{model.end_tokens()};
    else
        return {};
}

/// next_logits, checked: throws backend_error unless there is a row of the whole vocabulary for
/// each sequence.
template <policy Model>
[[nodiscard]] std::span<const logits_view> logits_of(Model& model,
                                                     std::span<const token_view> sequences) {
    const std::span<const logits_view> rows = model.next_logits(sequences);
    if (rows.size() != sequences.size())
        throw backend_error{"policy: next_logits returned " + std::to_string(rows.size()) +
                            " rows for " + std::to_string(sequences.size()) + " sequences"};
    const std::size_t vocabulary = vocab_size_of(model);
    for (std::size_t i = 0; i < rows.size(); ++i)
        if (rows[i].size() != vocabulary)
            throw backend_error{"policy: row " + std::to_string(i) + " of next_logits has " +
                                std::to_string(rows[i].size()) +
                                " logits, must be vocab_size() = " + std::to_string(vocabulary)};
    return rows;
}

/// How many sequences a model likes to see in one call; at least 1.
template <class Model>
[[nodiscard]] std::size_t max_batch_of(const Model& model) {
    static_assert(detail::explain_max_batch<Model>());
    if constexpr (detail::states_max_batch<Model>)
        return (std::max)(std::size_t{1}, static_cast<std::size_t>(model.max_batch()));
    else
        return 64;
}

}  // namespace tq
