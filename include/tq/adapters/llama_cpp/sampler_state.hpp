#pragma once
// sampler_state: where an answer stands that a sampler chain makes, and the tilt of its candidates.

#include <llama.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/random.hpp"
#include "../../core/token.hpp"
#include "../../decode/any_action_value.hpp"
#include "../../decode/generation.hpp"
#include "../../decode/logits_processor.hpp"

namespace tq::llama_cpp {

/// Options of make_sampler.
struct sampler_options {
    /// Of the decision: alpha, select, race, seed. top_k is max_candidates; leave temperature at 1,
    /// the chain has its own.
    decode_options decode = {};
    /// How long an answer gets at most, in tokens; >= 1. Look-ahead ends where the answer will.
    std::size_t max_tokens = 128;
    /// More candidates than this are an error: put top_k before this sampler, or let it cut. [1,
    /// inf).
    std::size_t max_candidates = 64;
    /// true: of more candidates the likeliest stay and the rest get -inf, as with top_k before it.
    bool cuts = false;
    /// false: it adds Q / alpha to the logits, and a later sampler (dist, greedy) selects.
    /// true: it selects as well, and may race, which saves most of the rollouts.
    bool selects = false;
};

namespace detail {

/// A llama_sampler's context.
class sampler_state {
public:
    /// `options` name the end tokens.
    sampler_state(std::size_t vocab_size, any_action_value value, sampler_options options)
        : options_{std::move(options)},
          row_(vocab_size, forbidden),
          value_{std::move(value)},
          processor_{value_, decode_options_of(options_)} {}
    /// The same, in the same place of the same answer. It shares the value.
    sampler_state(const sampler_state& other)
        : sampler_state{other.row_.size(), other.value_, other.options_} {
        copy_progress(other);
    }
    sampler_state& operator=(const sampler_state&) = delete;
    ~sampler_state() = default;

    void copy_progress(const sampler_state& other) {
        sequence_ = other.sequence_;
        prompt_size_ = other.prompt_size_;
        key_ = other.key_;
        processor_.ledger() = other.processor_.ledger();
        error_ = other.error_;
    }

    void prime(token_view prompt, std::size_t index) {
        check_prompt(prompt, row_.size(), "sampler: prompt");
        sequence_.assign(prompt.begin(), prompt.end());
        prompt_size_ = prompt.size();
        key_ = random_key{options_.decode.seed}.fold_in(index);
        error_ = nullptr;
    }

    void reset() { sequence_.resize(prompt_size_); }

    void accept(llama_token token) {
        if (prompt_size_ > 0) sequence_.push_back(token);
    }

    void apply(llama_token_data_array& candidates) {
        check_option(prompt_size_ > 0, "sampler", "prompt", "none",
                     "told by prime() before the first token");
        check_option(options_.cuts || candidates.size <= options_.max_candidates, "sampler",
                     "candidates", candidates.size,
                     "<= max_candidates = " + std::to_string(options_.max_candidates) +
                         "; put llama_sampler_init_top_k before it, or set cuts");
        if (candidates.size == 0) return;
        const std::size_t emitted = sequence_.size() - prompt_size_;
        const decode_state state{
            .sequence = sequence_,
            .prompt_size = prompt_size_,
            .tokens_left = std::max<std::size_t>(
                1, options_.max_tokens - (std::min)(options_.max_tokens, emitted)),
            .end_tokens = options_.decode.end_tokens,
            .key = key_.fold_in(emitted)};
        const std::span<llama_token_data> entries{candidates.data, candidates.size};
        const filled_row filled{row_, entries};
        if (options_.selects) {
            const token_id token = processor_.pick(row_, state).token;
            const auto chosen = std::ranges::find(entries, token, &llama_token_data::id);
            candidates.selected = chosen - entries.begin();
        } else {
            processor_(row_, state);
            for (llama_token_data& entry : entries)
                entry.logit = row_[static_cast<std::size_t>(entry.id)];
            candidates.sorted = false;
        }
    }

    void keep(std::exception_ptr error) noexcept {
        if (!error_) error_ = std::move(error);
    }
    void rethrow() {
        if (const std::exception_ptr error = std::exchange(error_, nullptr))
            std::rethrow_exception(error);
    }

private:
    static constexpr float forbidden = -std::numeric_limits<float>::infinity();

    /// The candidates' logits in a row of the whole vocabulary, for the time of a call.
    class filled_row {
    public:
        filled_row(std::vector<float>& row, std::span<const llama_token_data> entries)
            : row_{row},
              entries_{entries} {
            for (const llama_token_data& entry : entries)
                check_option(is_token(entry.id, row.size()), "sampler", "candidate", entry.id,
                             "in [0, " + std::to_string(row.size()) + ")");
            for (const llama_token_data& entry : entries)
                row_[static_cast<std::size_t>(entry.id)] = entry.logit;
        }
        filled_row(const filled_row&) = delete;
        filled_row& operator=(const filled_row&) = delete;
        ~filled_row() {
            for (const llama_token_data& entry : entries_)
                row_[static_cast<std::size_t>(entry.id)] = forbidden;
        }

    private:
        std::vector<float>& row_;
        std::span<const llama_token_data> entries_;
    };

    static decode_options decode_options_of(const sampler_options& options) {
        decode_options result = options.decode;
        result.top_k = options.max_candidates;
        return result;
    }

    sampler_options options_;
    token_list sequence_;  // prompt and answer so far
    std::size_t prompt_size_ = 0;
    random_key key_{};
    std::vector<float> row_;  // [vocabulary], -inf between calls
    any_action_value value_;
    logits_processor<any_action_value&> processor_;
    std::exception_ptr error_;
};

}  // namespace detail
}  // namespace tq::llama_cpp
