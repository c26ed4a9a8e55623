#pragma once
// engine_owner: what language_model and reward_head have in common.

#include <cstddef>
#include <span>
#include <utility>

#include "../../core/token.hpp"
#include "model_file.hpp"
#include "options.hpp"
#include "sequence_engine.hpp"

namespace tq::llama_cpp::detail {

/// A sequence engine with its counters and its cache, as users see them.
class engine_owner {
public:
    /// Tokens that went through the model, llama_decode calls, and calls of next_logits or score,
    /// since the start or reset_counters().
    [[nodiscard]] std::size_t tokens_decoded() const noexcept { return engine_.tokens_decoded(); }
    [[nodiscard]] std::size_t decodes() const noexcept { return engine_.decodes(); }
    [[nodiscard]] std::size_t calls() const noexcept { return calls_; }
    void reset_counters() noexcept {
        engine_.reset_counters();
        calls_ = 0;
    }

    /// Forgets all cached prefixes.
    void clear_cache() { engine_.clear(); }

    [[nodiscard]] const model_file& source() const noexcept { return engine_.source(); }

protected:
    engine_owner(model_file source, const language_model_options& options, row_kind kind)
        : engine_{std::move(source), options, kind} {}

    /// One counted call.
    [[nodiscard]] std::span<const logits_view> rows(std::span<const token_view> sequences) {
        ++calls_;
        return engine_.rows(sequences);
    }
    [[nodiscard]] std::size_t in_flight() const noexcept { return engine_.in_flight(); }

private:
    sequence_engine engine_;
    std::size_t calls_ = 0;
};

}  // namespace tq::llama_cpp::detail
