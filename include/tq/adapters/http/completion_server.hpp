#pragma once
// completion_server: a baseline that runs on a server.

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../concepts/baseline.hpp"
#include "../../core/error.hpp"
#include "../../core/trajectory.hpp"
#include "client.hpp"
#include "completion.hpp"
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
    /// imitations some take one prompt only.
    std::size_t greedy_batch = 0;

    /// Sampled rollouts of one sequence travel as one request with "n": the server reads it once
    /// and has fewer requests. Then they depend on which others are asked for with them, so a
    /// decode's tokens may depend on `in_flight`. If not set: true for dialect::vllm; false for
    /// llama-server, which takes no more than it has slots, and for others.
    std::optional<bool> group = std::nullopt;

    /// Tokens that the server's context holds, 0 = not known. A sequence that does not fit,
    /// together with its rollout, is refused before anything is sent.
    std::size_t context = 0;

    /// The path of requests; empty = "/completion" of llama-server, "/v1/completions" of others.
    std::string path = {};

    /// Further fields of every request: an object, such as {"lora": [{"id": 0, "scale": 1}]} or
    /// {"stop": ["\n"]}. null takes out a field that the server does not know, such as "min_p".
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
        if (options_.path.empty()) options_.path = llama() ? "/completion" : "/v1/completions";
    }

    /// Models completer. Throws backend_error if a server fails for good or answers nonsense.
    [[nodiscard]] std::vector<trajectory> complete(std::span<const rollout_request> requests,
                                                   sampling_rule rule) {
        for (std::size_t i = 0; i < requests.size(); ++i) expect_room(requests[i], i);
        const std::vector<batch> batches = batches_of(requests, rule);
        std::vector<nlohmann::json> bodies;
        for (const batch& group : batches) bodies.push_back(body_of(requests, group, rule));
        std::vector<trajectory> result(requests.size());
        client_.post_each(options_.path, bodies, [&](std::size_t b, nlohmann::json answer) {
            const batch& members = batches[b];
            if (answer.is_object() && llama())  // llama-server, asked for one
                answer = nlohmann::json::array({std::move(answer)});
            // llama-server numbers the answers of every prompt of its own, in order.
            if (llama() && answer.is_array())
                for (nlohmann::json& part : answer)
                    if (part.is_object()) part.erase("index");
            const std::vector<nlohmann::json> parts =
                detail::parts_of(answer, "choices", members.size());
            for (std::size_t i = 0; i < members.size(); ++i) {
                const rollout_request& request = requests[members[i]];
                result[members[i]] = detail::completion{parts[i], request, options_.speaks,
                                                        options_.text, rule.temperature == 1}
                                         .read();
            }
        });
        return result;
    }

    [[nodiscard]] const client& servers() const noexcept { return client_; }

private:
    static constexpr const char* where = "completion_server";

    /// Requests that travel together: greedy ones, or some of one sequence.
    using batch = std::vector<std::size_t>;

    [[nodiscard]] bool llama() const noexcept { return options_.speaks == dialect::llama_cpp; }
    [[nodiscard]] bool as_text() const noexcept { return static_cast<bool>(options_.text.encode); }

    void expect_room(const rollout_request& request, std::size_t number) const {
        const std::size_t size = request.sequence.size() + request.max_tokens;
        if (options_.context == 0 || size <= options_.context) return;
        check_option(false, where, "context", options_.context,
                     ">= " + std::to_string(size) + ": sequence " + std::to_string(number) +
                         " has " + std::to_string(request.sequence.size()) +
                         " tokens, its rollout up to " + std::to_string(request.max_tokens));
    }

    [[nodiscard]] std::vector<batch> batches_of(std::span<const rollout_request> requests,
                                                const sampling_rule& rule) const {
        return detail::grouped(requests.size(), [&](const batch& group, std::size_t i) {
            const rollout_request& first = requests[group.front()];
            if (first.max_tokens != requests[i].max_tokens ||
                !std::ranges::equal(first.end_tokens, requests[i].end_tokens))
                return false;
            if (rule.greedy()) return group.size() < options_.greedy_batch;
            return options_.group.value_or(options_.speaks == dialect::vllm) &&
                   std::ranges::equal(first.sequence, requests[i].sequence);
        });
    }

    [[nodiscard]] nlohmann::json prompt_of(const rollout_request& request) const {
        if (as_text()) return options_.text.decode(request.sequence);
        return token_list{request.sequence.begin(), request.sequence.end()};
    }

    [[nodiscard]] nlohmann::json body_of(std::span<const rollout_request> requests,
                                         const batch& group, const sampling_rule& rule) const {
        const rollout_request& first = requests[group.front()];
        nlohmann::json body = neutral(first);
        body.merge_patch(options_.extra);
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
            if (first.log_probability) body["n_probs"] = 1;
        } else if (options_.speaks == dialect::vllm && first.log_probability) {
            body["logprobs"] = 0;
        }
        return body;
    }

    /// What keeps a server from a law of its own: what a request leaves out, vLLM takes from the
    /// model's generation_config.json.
    [[nodiscard]] nlohmann::json neutral(const rollout_request& first) const {
        if (llama())
            return {{"return_tokens", true},
                    {"samplers", {"temperature", "top_p"}},  // no top_k, min_p or penalties
                    {"cache_prompt", true}};
        nlohmann::json body{{"presence_penalty", 0}, {"frequency_penalty", 0}};
        if (options_.speaks == dialect::openai) return body;
        body.update(
            {{"return_token_ids", true}, {"repetition_penalty", 1}, {"top_k", -1}, {"min_p", 0}});
        if (as_text())
            body["add_special_tokens"] = false;  // the text has its own
        else
            body["stop_token_ids"] = token_list{first.end_tokens.begin(), first.end_tokens.end()};
        return body;
    }

    client client_;
    completion_options options_;
};

}  // namespace tq::http
