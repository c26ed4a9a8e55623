#pragma once
// completion_server: a baseline that runs on a server.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../concepts/baseline.hpp"
#include "../../core/error.hpp"
#include "../../core/trajectory.hpp"
#include "client.hpp"
#include "grouping.hpp"
#include "options.hpp"
#include "parsing.hpp"
#include "text.hpp"

namespace tq::http {

/// Options of completion_server.
struct completion_options {
    /// What the server is.
    dialect speaks = dialect::openai;

    /// The model's name at the server; llama-server needs none.
    std::string model = {};

    /// If set, sequences and answers travel as text, so the server's model may have another
    /// vocabulary than the policy. dialect::openai needs it: its answers have no token numbers.
    /// `decode` gives the prompt too, as the policy reads it; put another in its place there if the
    /// server's model needs another chat template.
    text_codec text = {};

    /// Greedy rollouts travel so many to a request; 0 = 8, and 1 with dialect::openai, of whose
    /// imitations some take one prompt only. Sampled ones go one to a request: each has a seed of
    /// its own.
    std::size_t greedy_batch = 0;

    /// Sampled rollouts of one sequence travel as one request with "n", which reads the sequence
    /// once where the server has no prefix cache. Then they depend on which others are asked for
    /// with them, so a decode's tokens may depend on `slots`. false = no-op.
    bool group = false;

    /// Further fields of every request: an object, such as {"lora": [{"id": 0, "scale": 1}]} or
    /// {"stop": ["\n"]}.
    nlohmann::json extra = nlohmann::json::object();
};

/// A baseline on a server or on a fleet of them: /completion of llama-server, /v1/completions of
/// vLLM and of whatever speaks the OpenAI API. Models completer; requests of one call run at the
/// same time.
///
///  * Seeds are the rollouts' own keys, so equal requests have equal answers as far as the server
///    keeps its promise: engines that batch give a prompt other float noise in other company.
///  * Rollouts are new from where they begin: a server cannot go on drawing where a remembered
///    rollout went, so with scenario noise a rollout that was extended differs from one made anew.
///    Greedy ones are the same.
///  * log_probability comes from the server's log-probabilities of raw logits: at temperature 1
///    only, and with tokens, else it stays NaN. The end counts as the end token that was drawn, not
///    all of them together, and where the server shows no end token a finished rollout has none.
///  * Sources: llama.cpp tools/server/README.md (POST /completion); the OpenAI API reference
///    (legacy completions); vLLM's OpenAI-compatible server (return_token_ids).
///
/// Not thread-safe: one call at a time.
class completion_server {
public:
    /// Throws invalid_option for options out of range, and as client does. Nothing is sent.
    completion_server(server_options server, completion_options options)
        : client_{std::move(server)},
          options_{std::move(options)} {
        const bool text = options_.text.encode && options_.text.decode;
        check_option(text || (!options_.text.encode && !options_.text.decode), "completion_server",
                     "text", "half a codec", "both functions or none");
        check_option(text || options_.speaks != dialect::openai, "completion_server", "text",
                     "none", "a codec: the OpenAI API gives text, no token numbers");
        check_option(options_.extra.is_object(), "completion_server", "extra",
                     options_.extra.type_name(), "a JSON object");
        if (options_.greedy_batch == 0)
            options_.greedy_batch = options_.speaks == dialect::openai ? 1 : 8;
    }

    /// Models completer. Throws backend_error if a server fails for good or answers nonsense.
    [[nodiscard]] std::vector<trajectory> complete(std::span<const rollout_request> requests,
                                                   sampling_rule rule) {
        const std::vector<batch> batches = batches_of(requests, rule);
        std::vector<nlohmann::json> bodies;
        for (const batch& group : batches) bodies.push_back(body_of(requests, group, rule));
        std::vector<nlohmann::json> answers =
            client_.post_all(llama() ? "/completion" : "/v1/completions", bodies);
        std::vector<trajectory> result(requests.size());
        for (std::size_t b = 0; b < batches.size(); ++b) {
            const batch& members = batches[b];
            if (answers[b].is_object() && llama())  // llama-server, asked for one
                answers[b] = nlohmann::json::array({std::move(answers[b])});
            // llama-server numbers the answers of every prompt of its own, in order.
            if (llama())
                for (nlohmann::json& part : answers[b])
                    if (part.is_object()) part.erase("index");
            const std::vector<nlohmann::json> parts =
                detail::parts_of(std::move(answers[b]), "choices", members.size(), where);
            for (std::size_t i = 0; i < members.size(); ++i)
                result[members[i]] = trajectory_of(requests[members[i]], parts[i], rule);
        }
        return result;
    }

    [[nodiscard]] const client& servers() const noexcept { return client_; }

private:
    static constexpr const char* where = "completion_server";

    /// Requests that travel together: greedy ones, or some of one sequence.
    using batch = std::vector<std::size_t>;

    [[nodiscard]] bool llama() const noexcept { return options_.speaks == dialect::llama_cpp; }
    [[nodiscard]] bool as_text() const noexcept { return static_cast<bool>(options_.text.encode); }

    [[nodiscard]] std::vector<batch> batches_of(std::span<const rollout_request> requests,
                                                const sampling_rule& rule) const {
        return detail::grouped(requests.size(), [&](const batch& group, std::size_t i) {
            const rollout_request& first = requests[group.front()];
            if (first.max_tokens != requests[i].max_tokens) return false;
            if (rule.greedy()) return group.size() < options_.greedy_batch;
            return options_.group && std::ranges::equal(first.sequence, requests[i].sequence);
        });
    }

    [[nodiscard]] nlohmann::json prompt_of(const rollout_request& request) const {
        if (as_text()) return options_.text.decode(request.sequence);
        return token_list{request.sequence.begin(), request.sequence.end()};
    }

    [[nodiscard]] nlohmann::json body_of(std::span<const rollout_request> requests,
                                         const batch& group, const sampling_rule& rule) const {
        const rollout_request& first = requests[group.front()];
        nlohmann::json body = options_.extra;
        if (!options_.model.empty()) body["model"] = options_.model;
        if (rule.greedy() && group.size() > 1) {
            body["prompt"] = nlohmann::json::array();
            for (const std::size_t i : group) body["prompt"].push_back(prompt_of(requests[i]));
        } else {
            body["prompt"] = prompt_of(first);
            if (group.size() > 1) body["n"] = group.size();
        }
        body[llama() ? "n_predict" : "max_tokens"] = first.max_tokens;
        body["temperature"] = rule.temperature;
        body["top_p"] = rule.top_p;
        body["stream"] = false;
        // 31 bits: what every server takes, and no number means "any seed".
        if (!rule.greedy()) body["seed"] = first.key.value() & 0x7fffffff;
        if (llama()) {
            body["return_tokens"] = true;
            body["samplers"] = {"temperature", "top_p"};  // no top_k, min_p or penalties
            body["cache_prompt"] = true;
            if (first.log_probability) body["n_probs"] = 1;
        } else if (options_.speaks == dialect::vllm) {
            body["return_token_ids"] = true;
            body["top_k"] = -1;
            body["min_p"] = 0;
            if (first.log_probability) body["logprobs"] = 0;
        }
        return body;
    }

    /// The continuation that one part of an answer tells.
    [[nodiscard]] trajectory trajectory_of(const rollout_request& request,
                                           const nlohmann::json& part,
                                           const sampling_rule& rule) const {
        trajectory result{.sequence = {request.sequence.begin(), request.sequence.end()},
                          .start = request.sequence.size()};
        const char* reason_name = llama() ? "stop_type" : "finish_reason";
        const auto reason = detail::field<std::string>(part, reason_name, where);
        const bool ended = reason == "stop" || reason == "eos" || reason == "word";
        const token_list tokens = tokens_of(part);
        result.rows = tokens.size();
        bool all = true;  // none of the server's tokens is left out
        for (const token_id token : tokens) {
            result.finished = is_end_token(token, request.end_tokens);
            all = result.tokens().size() < request.max_tokens || result.finished;
            if (result.finished || !all) break;
            result.sequence.push_back(token);
        }
        const bool end_shown = result.finished;
        result.finished |= ended && all && result.tokens().size() < request.max_tokens;
        if (request.log_probability && rule.temperature == 1 && !as_text() && all &&
            result.finished == end_shown)
            result.log_probability =
                log_probability_of(part, result.tokens().size() + (end_shown ? 1 : 0));
        return result;
    }

    [[nodiscard]] token_list tokens_of(const nlohmann::json& part) const {
        if (as_text())
            return options_.text.encode(
                detail::field<std::string>(part, llama() ? "content" : "text", where));
        return detail::field<token_list>(part, llama() ? "tokens" : "token_ids", where);
    }

    /// The sum of the first `count` tokens' log-probabilities; NaN if they are not there.
    [[nodiscard]] double log_probability_of(const nlohmann::json& part, std::size_t count) const {
        constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
        double sum = 0;
        const nlohmann::json& list = llama()
                                         ? part.value("completion_probabilities", nlohmann::json{})
                                         : part.value("logprobs", nlohmann::json::object())
                                               .value("token_logprobs", nlohmann::json{});
        if (!list.is_array() || list.size() < count) return unknown;
        for (std::size_t i = 0; i < count; ++i) {
            const nlohmann::json& value = llama() && list[i].is_object()
                                              ? list[i].value("logprob", nlohmann::json{})
                                              : list[i];
            if (!value.is_number()) return unknown;
            sum += value.get<double>();
        }
        return sum;
    }

    client client_;
    completion_options options_;
};

}  // namespace tq::http
