#pragma once
// The smallest language model: the next token depends on the last one alone.

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/policy.hpp"
#include "../core/error.hpp"

namespace tq::tabular {

/// A policy given by a table of logits: row t holds the logits of what follows token t.
class bigram_model {
public:
    /// logits [V][V], V >= 1; end_tokens in [0, V). Throws invalid_option otherwise.
    explicit bigram_model(std::vector<std::vector<float>> logits, token_list end_tokens = {})
        : logits_{std::move(logits)},
          end_tokens_{std::move(end_tokens)} {
        check_option(!logits_.empty(), "bigram_model", "vocabulary", 0, ">= 1 token");
        for (const std::vector<float>& row : logits_)
            check_option(row.size() == vocab_size(), "bigram_model", "row size", row.size(),
                         "the number of rows, " + std::to_string(vocab_size()));
        for (const token_id token : end_tokens_) check_token(token);
    }

    [[nodiscard]] std::size_t vocab_size() const noexcept { return logits_.size(); }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }

    /// Models policy. Throws invalid_option for an empty sequence or a token outside [0, V).
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        rows_.clear();
        for (const token_view sequence : sequences) {
            check_option(!sequence.empty(), "bigram_model", "sequence size", 0, ">= 1 token");
            check_token(sequence.back());
            rows_.emplace_back(logits_[static_cast<std::size_t>(sequence.back())]);
        }
        return rows_;
    }

private:
    void check_token(token_id token) const {
        check_option(is_token(token, vocab_size()), "bigram_model", "token", token,
                     "in [0, " + std::to_string(vocab_size()) + ")");
    }

    std::vector<std::vector<float>> logits_;  // [V][V]
    token_list end_tokens_;
    std::vector<logits_view> rows_;  // [sequences of the last call]
};

}  // namespace tq::tabular
