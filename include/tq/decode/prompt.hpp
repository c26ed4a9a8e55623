#pragma once
// What is checked before an answer begins: its prompt, and the tokens that end it.

#include <cstddef>
#include <string>
#include <string_view>

#include "../concepts/policy.hpp"
#include "../core/error.hpp"
#include "../core/token.hpp"

namespace tq {

/// Throws invalid_option unless all tokens are in [0, vocab_size).
inline void check_tokens(token_view tokens, std::size_t vocab_size, std::string_view where,
                         std::string_view what = "token") {
    for (const token_id token : tokens)
        check_option(is_token(token, vocab_size), where, what, token,
                     "in [0, " + std::to_string(vocab_size) + ")");
}

/// The end tokens that a user chose, or those that the model states if there was no choice. Throws
/// invalid_option if one is outside the model's vocabulary, unless that has no tokens yet.
template <class Model>
[[nodiscard]] token_list chosen_end_tokens(const token_list& chosen, Model& model) {
    const token_view stated = end_tokens_of(model);
    token_list result = chosen.empty() ? token_list{stated.begin(), stated.end()} : chosen;
    const std::size_t vocabulary = vocab_size_of(model);
    if (vocabulary > 0) check_tokens(result, vocabulary, "decoder", "end token");
    return result;
}

/// Throws invalid_option unless a prompt has tokens, all of them in [0, vocab_size).
inline void check_prompt(token_view prompt, std::size_t vocab_size, const std::string& where) {
    check_option(!prompt.empty(), where, "size", 0, ">= 1 token");
    check_tokens(prompt, vocab_size, where);
}

}  // namespace tq
