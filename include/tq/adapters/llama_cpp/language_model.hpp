#pragma once
// language_model: a policy, and so a baseline, from a GGUF model.

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../concepts/policy.hpp"
#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "engine_owner.hpp"
#include "model_file.hpp"
#include "options.hpp"

namespace tq::llama_cpp {

/// Lets a model see another prompt than the one in the sequences it is given: one that begins with
/// `replaces` is read as `with` and then the rest. So a baseline can have its own system prompt or
/// chat template while sequences keep the policy's prompt.
struct prompt_override {
    token_list replaces;  ///< the policy's prompt; empty = every sequence begins with it
    token_list with;      ///< what this model sees in its place
};

/// A frozen model; models tq::policy.
///
/// Same sequence, same row up to float noise: llama.cpp picks other kernels for other batch shapes.
/// Plain llama.cpp, given the same 100 tokens of text in chunks of other sizes, moves its worst
/// logit by up to 0.9 (Q8_0 weights) or 0.4 (BF16); nothing here adds to that. On tokens drawn
/// blindly it was 2.5 and 0.4.
///
/// Prefixes are shared with earlier calls and within a call, so that sequences which advance by a
/// token each cost one token each, in one llama_decode. A call with more sequences than
/// max_sequences, or than the context holds at once, is worked off in several. Recurrent and hybrid
/// models (Mamba, LFM2, Qwen 3.5) keep whole states instead of prefixes: a call's sequences branch
/// by copies; what went on and is to branch later is decoded again, at most 32 tokens of it while
/// states are left over.
///
/// Not thread-safe; objects with the same weights may be used in different threads.
class language_model : public detail::engine_owner {
public:
    /// Throws invalid_option for options out of range and files that do not load.
    explicit language_model(model_file source, const language_model_options& options = {})
        : engine_owner{std::move(source), options, detail::row_kind::logits} {}

    [[nodiscard]] std::size_t vocab_size() const noexcept { return source().vocab_size(); }
    [[nodiscard]] token_view end_tokens() const noexcept { return source().end_tokens(); }

    /// Sequences to keep in flight: max_sequences but for an eighth, where prompts stay cached; of
    /// recurrent and hybrid models half of them, rounded up.
    [[nodiscard]] std::size_t max_batch() const noexcept { return in_flight(); }

    /// Row i has the logits [vocab_size] of the token that follows sequences[i]; views until the
    /// next call. Throws invalid_option for a sequence that is empty, longer than the context or
    /// has a token outside [0, vocab_size()); backend_error, with llama.cpp's code, if decoding
    /// fails. The object stays usable.
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        if (overrides_.empty()) return rows(sequences);
        seen_.clear();
        seen_.reserve(sequences.size());  // views of it must stay valid
        views_.clear();
        for (const token_view sequence : sequences) views_.push_back(translate(sequence));
        return rows(views_);
    }

    /// From now on prompts are replaced by this rule alone.
    void set_prompt_override(prompt_override rule) {
        overrides_.clear();
        add_prompt_override(std::move(rule));
    }
    /// Adds a rule, for several prompts at once; the first that matches holds.
    void add_prompt_override(prompt_override rule) { overrides_.push_back(std::move(rule)); }
    /// From now on prompts are seen as they are.
    void clear_prompt_overrides() noexcept { overrides_.clear(); }

private:
    [[nodiscard]] token_view translate(token_view sequence) {
        for (const prompt_override& rule : overrides_) {
            const std::size_t size = rule.replaces.size();
            if (detail::common_prefix(sequence, rule.replaces) != size) continue;
            token_list& seen = seen_.emplace_back(rule.with);
            seen.insert(seen.end(), sequence.begin() + static_cast<std::ptrdiff_t>(size),
                        sequence.end());
            return seen;
        }
        return sequence;
    }

    std::vector<prompt_override> overrides_;
    std::vector<token_list> seen_;   // translated sequences of the present call
    std::vector<token_view> views_;  // [sequences] of the present call
};

}  // namespace tq::llama_cpp
