#pragma once
// logits_processor: the tilt for engines that have a loop of their own.

#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/error.hpp"
#include "../kernels/log_sum_exp.hpp"
#include "decoder.hpp"
#include "ledger.hpp"

namespace tq {

namespace detail {

/// A policy whose rows somebody else has computed.
class given_logits {
public:
    void give(std::span<const logits_view> rows) noexcept { rows_ = rows; }
    [[nodiscard]] std::size_t vocab_size() const noexcept {
        return rows_.empty() ? 0 : rows_.front().size();
    }
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view>) const {
        return rows_;
    }

private:
    std::span<const logits_view> rows_;
};

}  // namespace detail

/// Tilts rows of logits in place, so that their softmax is the tilted distribution: a callable for
/// any engine that lets its users change logits before it samples.
///
///     tq::logits_processor steer{q, {.alpha = 0.1, .top_k = 8}};       // q: any action value
///     steer(logits, {.sequence = ids, .prompt_size = n, .tokens_left = 32, .end_tokens = eos});
///
/// The candidates are the top_k largest logits; the others are forbidden (-inf). `sequence` is
/// prompt and answer so far; `tokens_left` is how long the answer may still get: look-ahead must
/// end where the answer will. The state's other fields may be left out: a ledger keeps what each
/// answer has spent, and its random numbers are those of the seed and the position. Answers to one
/// prompt that shall differ need a `key` each. Several rows together share the model calls of their
/// look-ahead.
/// Where the engine lets tq pick the token as well, pick() can race and saves most of the rollouts.
///
/// A row with NaN, or without a finite logit, throws backend_error; whatever the value throws
/// passes through; rows are then as they were. Values: an lvalue is held by reference and must
/// outlive the processor, an rvalue is moved in. One per thread.
template <class Value>
class logits_processor {
public:
    /// Throws invalid_option if an option is out of range.
    explicit logits_processor(Value&& value, decode_options options = {})
        : given_{std::make_unique<detail::given_logits>()},
          decoder_{*given_, std::forward<Value>(value), std::move(options)} {}

    /// Logits need the Q of every candidate: nobody is dropped. Throws invalid_option if the
    /// options ask for a confident race or a budget.
    void operator()(std::span<float> logits, const decode_state& state) {
        (*this)(std::span{&logits, 1}, std::span{&state, 1});
    }

    /// Row i belongs to states[i].
    void operator()(std::span<const std::span<float>> rows, std::span<const decode_state> states) {
        const decode_options& chosen = decoder_.options();
        check_option(chosen.race != race_mode::confident, "logits_processor", "race", chosen.race,
                     "exhaustive or exact where logits are wanted; pick() can race");
        check_option(std::isinf(chosen.token_budget), "logits_processor", "token_budget",
                     chosen.token_budget, "inf where logits are wanted; pick() can keep to it");
        const std::vector<logits_view> views(rows.begin(), rows.end());
        const std::vector<decode_state> filled = give(views, states);
        const std::vector<tilted_distribution> tilted = decoder_.scorer().score(filled);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            write(tilted[i], rows[i]);
            ledger_.record(filled[i], tilted[i].spent, tilted[i].kl_prior, 0);
        }
    }

    /// The decoder's own decision by these logits, which stay as they are.
    [[nodiscard]] step pick(logits_view logits, const decode_state& state) {
        return std::move(pick(std::span{&logits, 1}, std::span{&state, 1}).front());
    }
    /// One token for each row, in the order of the rows.
    [[nodiscard]] std::vector<step> pick(std::span<const logits_view> rows,
                                         std::span<const decode_state> states) {
        const std::vector<decode_state> filled = give(rows, states);
        std::vector<step> steps = decoder_.next(filled);
        for (std::size_t i = 0; i < steps.size(); ++i)
            ledger_.record(filled[i], steps[i].spent, steps[i].tilt_kl(),
                           steps[i].unread(filled[i].unread));
        return steps;
    }

    [[nodiscard]] const decode_options& options() const noexcept { return decoder_.options(); }
    /// What the answers have spent. Set it to go on with another processor's answers.
    [[nodiscard]] tq::ledger& ledger() noexcept { return ledger_; }
    [[nodiscard]] const tq::ledger& ledger() const noexcept { return ledger_; }

private:
    /// Hands the rows to the decoder; returns the states with what the ledger knows.
    [[nodiscard]] std::vector<decode_state> give(std::span<const logits_view> rows,
                                                 std::span<const decode_state> states) {
        check_option(rows.size() == states.size(), "logits_processor", "rows", rows.size(),
                     "as many as states, " + std::to_string(states.size()));
        for (const logits_view row : rows)
            check_option(!row.empty() && row.size() == rows.front().size(), "logits_processor",
                         "row size", row.size(), "that of the vocabulary, >= 1, in every row");
        for (std::size_t i = 0; i < rows.size(); ++i)
            check_tokens(states[i].end_tokens, rows[i].size(), "logits_processor", "end token");
        given_->give(rows);
        std::vector<decode_state> filled;
        for (const decode_state& state : states)
            filled.push_back(ledger_.filled(state, options().seed));
        return filled;
    }

    void write(const tilted_distribution& tilted, std::span<float> row) const {
        constexpr float forbidden = -std::numeric_limits<float>::infinity();
        const double temperature = decoder_.options().temperature;
        const double together = log_sum_exp(std::span<const double>{tilted.log_prior});
        std::vector<double> changed;
        for (std::size_t i = 0; i < tilted.size(); ++i) {
            const double logit = row[static_cast<std::size_t>(tilted.tokens[i])];
            changed.push_back(logit / temperature + tilted.log_p[i] + together -
                              tilted.log_prior[i]);
        }
        for (float& logit : row) logit = forbidden;
        for (std::size_t i = 0; i < tilted.size(); ++i)
            row[static_cast<std::size_t>(tilted.tokens[i])] = static_cast<float>(changed[i]);
    }

    std::unique_ptr<detail::given_logits> given_;  // the decoder has its address
    decoder<detail::given_logits&, Value> decoder_;
    tq::ledger ledger_;
};

template <class Value>
logits_processor(Value&&, decode_options = {}) -> logits_processor<Value>;

}  // namespace tq
