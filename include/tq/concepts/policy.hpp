#pragma once
// policy: a frozen causal language model as a pure function on sequences, in batches.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>  // and with it std::ranges::borrowed_range: all of <ranges> is slow to compile

#include "../core/error.hpp"
#include "../core/token.hpp"

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

}  // namespace detail

/// Fails to compile with one readable sentence if `Model` is not a policy.
template <class Model>
constexpr bool explain_policy() {
    static_assert(detail::has_vocab_size<Model>,
                  "tq: a policy needs `vocab_size()` returning the number of tokens");
    static_assert(detail::has_next_logits<Model>,
                  "tq: a policy needs `next_logits(std::span<const tq::token_view>)`");
    if constexpr (detail::has_vocab_size<Model> && detail::has_next_logits<Model>)
        static_assert(policy<Model>,
                      "tq: `next_logits` of a policy must return a "
                      "std::span<const tq::logits_view>, one row for each sequence, or a reference "
                      "to a container of them, not one that is gone after the call");
    return policy<Model>;
}

/// The number of tokens in a model's vocabulary, whatever integer the model states it in.
template <class Model>
[[nodiscard]] std::size_t vocab_size_of(Model& model) {
    return static_cast<std::size_t>(model.vocab_size());
}

/// The end tokens a model knows of; none if it does not say.
template <class Model>
[[nodiscard]] token_view end_tokens_of(const Model& model) {
    if constexpr (requires { token_view{model.end_tokens()}; }) {
        static_assert(std::ranges::borrowed_range<decltype(model.end_tokens())>,
                      "tq: `end_tokens()` must return a view or a reference, not a container that "
                      "is gone after the call");
        return token_view{model.end_tokens()};
    } else {
        return {};
    }
}

/// next_logits, checked: throws backend_error unless there is a row for each sequence.
template <policy Model>
[[nodiscard]] std::span<const logits_view> logits_of(Model& model,
                                                     std::span<const token_view> sequences) {
    const std::span<const logits_view> rows = model.next_logits(sequences);
    if (rows.size() != sequences.size())
        throw backend_error{"policy: next_logits returned " + std::to_string(rows.size()) +
                            " rows for " + std::to_string(sequences.size()) + " sequences"};
    return rows;
}

/// How many sequences a model likes to see in one call; at least 1.
template <class Model>
[[nodiscard]] std::size_t max_batch_of(const Model& model) {
    if constexpr (requires {
                      { model.max_batch() } -> std::convertible_to<std::size_t>;
                  })
        return std::max<std::size_t>(1, model.max_batch());
    else
        return 64;
}

}  // namespace tq
