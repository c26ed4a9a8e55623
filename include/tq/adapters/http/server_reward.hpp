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
    rerank,     ///< /v1/rerank: "relevance_score" of the answer for the prompt (llama-server, vLLM)
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

    /// The text of tokens; needed. The one of a prompt is the query of `rerank` and `score`.
    std::function<std::string(token_view)> decode = {};

    /// Which entry of the class probabilities or of the vector is the reward.
    std::size_t output = 0;

    /// If set, the reward is this function of the class probabilities or of the vector, such as a
    /// linear head on an embedding.
    std::function<double(std::span<const double>)> value = {};

    /// What every value lies in, if that is known: it lets races drop candidates early. Checked.
    std::optional<reward_range> range = std::nullopt;

    /// Answers travel so many to a request. >= 1
    std::size_t batch = 32;

    /// Further fields of every request: an object.
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
        check_option(static_cast<bool>(options_.decode), "server_reward", "decode", "none",
                     "a function from tokens to text");
        check_option(options_.batch >= 1, "server_reward", "batch", options_.batch, ">= 1");
        check_option(options_.extra.is_object(), "server_reward", "extra",
                     options_.extra.type_name(), "a JSON object");
    }

    /// values[i] = r(answers[i]). Throws backend_error if a server fails for good or answers
    /// nonsense.
    void score(std::span<const answer_view> answers, std::span<double> values) {
        const std::vector<std::vector<std::size_t>> batches = batches_of(answers);
        std::vector<nlohmann::json> bodies;
        for (const std::vector<std::size_t>& members : batches)
            bodies.push_back(body_of(answers, members));
        std::vector<nlohmann::json> replies = client_.post_all(path(), bodies);
        for (std::size_t b = 0; b < batches.size(); ++b) {
            const std::vector<nlohmann::json> parts = detail::parts_of(
                std::move(replies[b]), options_.path == reward_path::rerank ? "results" : "data",
                batches[b].size(), where);
            for (std::size_t i = 0; i < parts.size(); ++i)
                values[batches[b][i]] = value_of(parts[i]);
        }
    }

    /// The one of the options; infinite if they state none.
    [[nodiscard]] reward_range range() const { return options_.range.value_or(reward_range{}); }

    [[nodiscard]] const client& servers() const noexcept { return client_; }

private:
    static constexpr const char* where = "server_reward";

    /// True if prompt and answer are two texts, with one prompt to a request.
    [[nodiscard]] bool pairs() const noexcept {
        return options_.path == reward_path::rerank || options_.path == reward_path::score;
    }

    [[nodiscard]] const char* path() const noexcept {
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
        nlohmann::json texts = nlohmann::json::array();
        for (const std::size_t i : members) texts.push_back(text_of(answers[i]));
        nlohmann::json body = options_.extra;
        if (options_.path == reward_path::state) body["embd_normalize"] = -1;
        if (!options_.model.empty()) body["model"] = options_.model;
        if (!pairs()) {
            body["input"] = std::move(texts);
            return body;
        }
        const bool ranks = options_.path == reward_path::rerank;
        body[ranks ? "query" : "text_1"] = options_.decode(answers[members.front()].prompt);
        body[ranks ? "documents" : "text_2"] = std::move(texts);
        return body;
    }

    [[nodiscard]] std::string text_of(const answer_view& answer) const {
        if (pairs()) return options_.decode(answer.answer);
        token_list whole{answer.prompt.begin(), answer.prompt.end()};
        whole.insert(whole.end(), answer.answer.begin(), answer.answer.end());
        return options_.decode(whole);
    }

    [[nodiscard]] double value_of(const nlohmann::json& part) const {
        switch (options_.path) {
            case reward_path::rerank:
                return detail::field<double>(part, "relevance_score", where);
            case reward_path::score:
                return detail::field<double>(part, "score", where);
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

    [[nodiscard]] double value_of_vector(const nlohmann::json& part, const char* name) const {
        auto list = detail::field<nlohmann::json>(part, name, where);
        if (list.is_number()) list = nlohmann::json::array({list});
        // Token by token: a causal reward model's last vector has read it all.
        while (list.is_array() && !list.empty() && list.back().is_array()) {
            auto last = std::move(list.back());
            list = std::move(last);
        }
        const auto vector = detail::field<std::vector<double>>({{name, list}}, name, where);
        if (options_.value) return options_.value(vector);
        if (options_.output >= vector.size())
            throw backend_error{std::string{where} + ": output " + std::to_string(options_.output) +
                                " of an answer with " + std::to_string(vector.size()) + " entries"};
        return vector[options_.output];
    }

    client client_;
    reward_options options_;
};

}  // namespace tq::http
