#pragma once
// Policies that count, fail or say the same thing every time.

#include <tq/concepts/policy.hpp>
#include <tq/core/error.hpp>
#include <tq/core/random.hpp>
#include <tq/tabular/bigram.hpp>
#include <utility>
#include <vector>

namespace tq::test {

/// Passes calls on and remembers how many sequences each had.
template <class Model>
class counting_policy {
public:
    explicit counting_policy(Model model) : model_{std::move(model)} {}

    [[nodiscard]] std::size_t vocab_size() const { return model_.vocab_size(); }
    [[nodiscard]] token_view end_tokens() const { return end_tokens_of(model_); }
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        batches.push_back(sequences.size());
        return model_.next_logits(sequences);
    }

    std::vector<std::size_t> batches;  // [calls] their sizes

private:
    Model model_;
};

/// Throws backend_error (code 7) in the calls whose numbers, from 0, are in `failing`.
template <class Model>
class flaky_policy {
public:
    flaky_policy(Model model, std::vector<std::size_t> failing)
        : model_{std::move(model)},
          failing_{std::move(failing)} {}

    [[nodiscard]] std::size_t vocab_size() const { return model_.vocab_size(); }
    [[nodiscard]] token_view end_tokens() const { return end_tokens_of(model_); }
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        const std::size_t call = calls_++;
        for (const std::size_t number : failing_)
            if (number == call) throw backend_error{"flaky_policy: planned failure", 7};
        return model_.next_logits(sequences);
    }

private:
    Model model_;
    std::vector<std::size_t> failing_;
    std::size_t calls_ = 0;
};

/// The same row, whatever the sequence.
class constant_policy {
public:
    explicit constant_policy(std::vector<float> row) : row_{std::move(row)} {}

    [[nodiscard]] std::size_t vocab_size() const { return row_.size(); }
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        rows_.assign(sequences.size(), logits_view{row_});
        return rows_;
    }

private:
    std::vector<float> row_;
    std::vector<logits_view> rows_;
};

/// A bigram model with logits uniform on (-spread, spread).
inline tabular::bigram_model random_bigram(std::size_t vocab_size, std::uint64_t seed,
                                           token_list end_tokens = {}, double spread = 2.0) {
    std::vector<std::vector<float>> logits(vocab_size, std::vector<float>(vocab_size));
    const random_key key{seed};
    for (std::size_t t = 0; t < vocab_size; ++t)
        for (std::size_t z = 0; z < vocab_size; ++z)
            logits[t][z] = static_cast<float>(spread * (2 * key.uniform(t * vocab_size + z) - 1));
    return tabular::bigram_model{std::move(logits), std::move(end_tokens)};
}

}  // namespace tq::test
