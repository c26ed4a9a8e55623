#pragma once
// server_reward: a reward model that runs on a server.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../concepts/reward.hpp"
#include "../../core/error.hpp"
#include "../../core/trajectory.hpp"
#include "client.hpp"
#include "grouping.hpp"
#include "options.hpp"
#include "parsing.hpp"
#include "text.hpp"

namespace tq::http {

/// Which path judges, and what of its answer is the reward.
enum class reward_path {
    /// /v1/rerank: "relevance_score" of the answer for the prompt (llama-server, vLLM), or "score"
    /// (SGLang, text-embeddings-inference)
    rerank,
    score,      ///< /score: "score" of the pair prompt and answer (vLLM)
    classify,   ///< /classify: "probs"[output] of prompt and answer as one text (vLLM)
    pooling,    ///< /pooling: "data" of the same, a reward model's number or vector (vLLM)
    embedding,  ///< /v1/embeddings: the same text's embedding (llama-server, vLLM, OpenAI)
    /// /embedding of llama-server, not normalised: with --embedding --pooling last, the state that
    /// a linear head reads (then `value` is that head).
    state,
};

/// Options of server_reward.
struct reward_options {
    /// Which path judges.
    reward_path path = reward_path::score;

    /// The model's name at the server; llama-server needs none.
    std::string model = {};

    /// The text of tokens; `rerank` and `score` need it: a prompt's is their query. If not set, the
    /// others send token numbers: exact, if the server's vocabulary is the policy's.
    std::function<std::string(token_view)> decode = {};

    /// The end token that finished answers are judged with; many reward models are trained to be
    /// read there. Not set = answers end with their last token.
    std::optional<token_id> end = std::nullopt;

    /// Which entry of the class probabilities or of the vector is the reward.
    std::size_t output = 0;

    /// If set, the reward is this function of the class probabilities or of the vector, such as a
    /// linear head on an embedding.
    std::function<double(std::span<const double>)> value = {};

    /// What every value lies in, if that is known: it lets races drop candidates early. Checked.
    std::optional<reward_range> range = std::nullopt;

    /// Answers travel so many to a request. >= 1
    std::size_t batch = 32;

    /// The path of requests; empty = the one that `path` is called by.
    std::string at = {};

    /// Further fields of every request: an object. null takes out a field that the server does not
    /// know, such as "use_activation".
    nlohmann::json extra = nlohmann::json::object();
};

/// A reward on a server or on a fleet of them. Requests of one call run at the same time.
///
/// Sources: llama.cpp tools/server/README.md (POST /v1/rerank, /v1/embeddings); vLLM's
/// documentation of pooling models (/score, /rerank, /classify, /pooling).
/// Not thread-safe: one call at a time.
class server_reward {
public:
    /// Throws invalid_option for options out of range, and as client does. Nothing is sent.
    server_reward(server_options server, reward_options options)
        : client_{std::move(server)},
          options_{std::move(options)} {
        check_option(options_.decode || !pairs(), "server_reward", "decode", "none",
                     "a function from tokens to text");
        check_option(options_.batch >= 1, "server_reward", "batch", options_.batch, ">= 1");
        check_option(options_.extra.is_object(), "server_reward", "extra",
                     options_.extra.type_name(), "a JSON object");
        if (options_.at.empty()) options_.at = usual_path();
    }

    /// values[i] = r(answers[i]). Throws backend_error if a server fails for good or answers
    /// nonsense.
    void score(std::span<const answer_view> answers, std::span<double> values) {
        const std::vector<std::vector<std::size_t>> batches = batches_of(answers);
        std::vector<nlohmann::json> bodies;
        for (const std::vector<std::size_t>& members : batches)
            bodies.push_back(body_of(answers, members));
        client_.post_each(options_.at, bodies, [&](std::size_t b, const nlohmann::json& reply) {
            const std::vector<nlohmann::json> parts =
                detail::parts_of(reply, options_.path == reward_path::rerank ? "results" : "data",
                                 batches[b].size());
            for (std::size_t i = 0; i < parts.size(); ++i)
                values[batches[b][i]] = value_of(parts[i]);
        });
    }

    /// The one of the options; infinite if they state none.
    [[nodiscard]] reward_range range() const { return options_.range.value_or(reward_range{}); }

    [[nodiscard]] const client& servers() const noexcept { return client_; }

private:
    /// True if prompt and answer are two texts, with one prompt to a request.
    [[nodiscard]] bool pairs() const noexcept {
        return options_.path == reward_path::rerank || options_.path == reward_path::score;
    }

    [[nodiscard]] const char* usual_path() const noexcept {
        switch (options_.path) {
            case reward_path::rerank:
                return "/v1/rerank";
            case reward_path::score:
                return "/score";
            case reward_path::classify:
                return "/classify";
            case reward_path::pooling:
                return "/pooling";
            case reward_path::embedding:
                return "/v1/embeddings";
            case reward_path::state:
                break;
        }
        return "/embedding";
    }

    [[nodiscard]] std::vector<std::vector<std::size_t>> batches_of(
        std::span<const answer_view> answers) const {
        return detail::grouped(answers.size(), [&](const auto& group, std::size_t i) {
            return group.size() < options_.batch &&
                   (!pairs() ||
                    std::ranges::equal(answers[group.front()].prompt, answers[i].prompt));
        });
    }

    [[nodiscard]] nlohmann::json body_of(std::span<const answer_view> answers,
                                         const std::vector<std::size_t>& members) const {
        nlohmann::json inputs = nlohmann::json::array();
        for (const std::size_t i : members) inputs.push_back(input_of(answers[i]));
        nlohmann::json body = neutral();
        body.merge_patch(options_.extra);
        if (!options_.model.empty()) body["model"] = options_.model;
        if (!pairs()) {
            body["input"] = std::move(inputs);
            return body;
        }
        const bool ranks = options_.path == reward_path::rerank;
        body[ranks ? "query" : "text_1"] = options_.decode(answers[members.front()].prompt);
        body[ranks ? "documents" : "text_2"] = std::move(inputs);
        return body;
    }

    /// The model's own number, not its sigmoid, and no further special tokens.
    [[nodiscard]] nlohmann::json neutral() const {
        switch (options_.path) {
            case reward_path::rerank:
            case reward_path::score:
                return {{"use_activation", false}};
            case reward_path::classify:
            case reward_path::pooling:
                return {{"use_activation", false}, {"add_special_tokens", false}};
            case reward_path::embedding:
                break;
            case reward_path::state:
                return {{"embd_normalize", -1}};
        }
        return nlohmann::json::object();
    }

    [[nodiscard]] nlohmann::json input_of(const answer_view& answer) const {
        token_list whole;
        if (!pairs()) whole.assign(answer.prompt.begin(), answer.prompt.end());
        whole.insert(whole.end(), answer.answer.begin(), answer.answer.end());
        if (options_.end && answer.finished) whole.push_back(*options_.end);
        if (!options_.decode) return whole;
        return options_.decode(whole);
    }

    [[nodiscard]] double value_of(const nlohmann::json& part) const {
        switch (options_.path) {
            case reward_path::rerank:
                return number(part,
                              detail::find(part, "relevance_score") ? "relevance_score" : "score");
            case reward_path::score:
                return number(part, "score");
            case reward_path::classify:
                return value_of_vector(part, "probs");
            case reward_path::pooling:
                return value_of_vector(part, "data");
            case reward_path::embedding:
            case reward_path::state:
                break;
        }
        return value_of_vector(part, "embedding");
    }

    [[nodiscard]] static double number(const nlohmann::json& part, const char* name) {
        const nlohmann::json* value = detail::find(part, name);
        if (value == nullptr || !value->is_number())
            throw detail::unusable{"an answer without a number \"" + std::string{name} +
                                   "\": " + detail::shown(part)};
        return value->get<double>();
    }

    [[nodiscard]] double value_of_vector(const nlohmann::json& part, const char* name) const {
        auto list = detail::field<nlohmann::json>(part, name);
        if (list.is_number()) list = nlohmann::json::array({list});
        // Token by token: a causal reward model's last vector has read it all.
        while (list.is_array() && !list.empty() && list.back().is_array()) {
            auto last = std::move(list.back());
            list = std::move(last);
        }
        const bool numbers =
            list.is_array() && std::ranges::all_of(list, &nlohmann::json::is_number);
        if (!numbers || (!options_.value && options_.output >= list.size()))
            throw detail::unusable{"output " + std::to_string(options_.output) + " of \"" + name +
                                   "\", which is " + detail::shown(list)};
        const auto vector = list.get<std::vector<double>>();
        return options_.value ? options_.value(vector) : vector[options_.output];
    }

    client client_;
    reward_options options_;
};

}  // namespace tq::http
