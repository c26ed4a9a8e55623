#pragma once
// Reading what a server says of one completion.

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "../../core/token.hpp"
#include "../../core/trajectory.hpp"
#include "options.hpp"
#include "parsing.hpp"
#include "text.hpp"

namespace tq::http::detail {

/// How a completion ended, as the server says.
enum class ending { itself, cut, unknown };

/// An empty string?
[[nodiscard]] inline bool is_empty(const nlohmann::json& text) {
    return text.is_string() && text.get_ref<const std::string&>().empty();
}

/// Throws unusable for an end that makes the text no rollout.
[[nodiscard]] inline ending ending_of(const nlohmann::json& part, const char* name) {
    const nlohmann::json* reason = find(part, name);
    if (reason == nullptr || reason->is_null() || is_empty(*reason)) return ending::unknown;
    for (const char* end : {"stop", "eos", "word", "eos_token", "stop_sequence", "end_turn"})
        if (*reason == end) return ending::itself;
    for (const char* cut : {"length", "limit", "max_tokens"})
        if (*reason == cut) return ending::cut;
    const bool may_pass = *reason == "abort" || *reason == "error";
    throw unusable{"a completion with \"" + std::string{name} + "\": " + shown(*reason), may_pass};
}

/// The sum of the first `count` tokens' log-probabilities; NaN if they are not there. Throws
/// unusable for a probability above one.
[[nodiscard]] inline double log_probability_of(const nlohmann::json& part, std::size_t count,
                                               bool llama) {
    const nlohmann::json* list = find(part, llama ? "completion_probabilities" : "logprobs");
    if (!llama && list != nullptr) list = find(*list, "token_logprobs");
    if (list == nullptr || !list->is_array() || list->size() < count) return number_of({});
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const nlohmann::json* value = llama ? find((*list)[i], "logprob") : &(*list)[i];
        const double one = value == nullptr ? number_of({}) : number_of(*value);
        constexpr double noise = 0.01;
        if (one > noise) throw unusable{"a log-probability of " + shown(*value) + ", must be <= 0"};
        sum += one;
    }
    return sum;
}

/// One completion and whose it is.
struct completion {
    const nlohmann::json& part;
    const rollout_request& request;
    dialect speaks;
    const text_codec& text;  ///< if set, text is read
    bool raw;                ///< drawn at temperature 1

    /// The rollout that it tells. Throws unusable if it is none.
    [[nodiscard]] trajectory read() const {
        trajectory result{.sequence = {request.sequence.begin(), request.sequence.end()},
                          .start = request.sequence.size()};
        const ending end = ending_of(part, llama() ? "stop_type" : "finish_reason");
        const token_list tokens = this->tokens();
        result.rows = tokens.size();
        bool all = true;  // none of the server's tokens is left out
        for (const token_id token : tokens) {
            result.finished = is_end_token(token, request.end_tokens);
            all = result.tokens().size() < request.max_tokens || result.finished;
            if (result.finished || !all) break;
            result.sequence.push_back(token);
        }
        const bool shown_end = result.finished;
        if (!shown_end && all) finish(result, end);
        if (request.log_probability && raw && !as_text() && all && result.finished == shown_end)
            result.log_probability =
                log_probability_of(part, result.tokens().size() + (shown_end ? 1 : 0), llama());
        return result;
    }

private:
    [[nodiscard]] bool llama() const noexcept { return speaks == dialect::llama_cpp; }
    [[nodiscard]] bool as_text() const noexcept { return static_cast<bool>(text.encode); }

    [[nodiscard]] token_list tokens() const {
        const char* words = llama() ? "content" : "text";
        if (const nlohmann::json* truncated = find(part, "truncated");
            truncated && *truncated == true)
            throw unusable{"the server cut the sequence (\"truncated\"): its context is too small"};
        if (as_text()) return text.encode(field<std::string>(part, words));
        const char* name = llama() ? "tokens" : "token_ids";
        token_list numbers = tokens_field(part, name);
        const nlohmann::json* written = find(part, words);
        if (numbers.empty() && written != nullptr && written->is_string() && !is_empty(*written))
            throw unusable{"text without \"" + std::string{name} + "\": " + shown(part)};
        return numbers;
    }

    /// Ends a rollout in which none of the policy's end tokens is.
    void finish(trajectory& result, ending end) const {
        const std::size_t size = result.tokens().size();
        if (end == ending::cut && !as_text() && size < request.max_tokens)
            throw unusable{"a rollout that was cut after " + std::to_string(size) + " of " +
                           std::to_string(request.max_tokens) +
                           " tokens: the server's context is full"};
        if (end != ending::itself) return;
        if (size > 0 && ends_with_end_token(result.sequence.back())) result.sequence.pop_back();
        result.finished = result.tokens().size() < request.max_tokens;
    }

    /// Is the last token one that ends text for the server, though not for the policy?
    [[nodiscard]] bool ends_with_end_token(token_id last) const {
        if (as_text()) return false;
        if (llama()) return part["stop_type"] == "eos";
        const nlohmann::json* stop = find(part, "stop_reason");  // null: the model's own end token
        return speaks == dialect::vllm && stop != nullptr && (stop->is_null() || *stop == last);
    }
};

}  // namespace tq::http::detail
