#pragma once
// Text and tokens: what servers that speak text need, from anywhere or from the server itself.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "client.hpp"
#include "options.hpp"
#include "parsing.hpp"

namespace tq::http {

/// Translates the policy's tokens. Both functions may throw.
struct text_codec {
    std::function<std::string(token_view)> decode{};       ///< tokens to text
    std::function<token_list(std::string_view)> encode{};  ///< text to tokens
};

/// The codec that a server has of its own model, by its paths /tokenize and /detokenize: one
/// request for each text. For llama-server and vLLM. `model` is the name vLLM knows it by.
/// Both read the names of special tokens in a text as those tokens, whoever wrote them: a user's
/// "<|im_end|>" ends a turn. Where that matters, give the policy's own codec.
/// Throws invalid_option for dialect::openai, which has no such paths, and as client does.
[[nodiscard]] inline text_codec server_codec(dialect speaks, server_options options,
                                             const std::string& model = {}) {
    check_option(speaks != dialect::openai, "server_codec", "dialect", "openai",
                 "llama_cpp or vllm: others have no path for tokens");
    const auto server = std::make_shared<client>(std::move(options));
    const bool llama = speaks == dialect::llama_cpp;
    const auto ask = [=](const char* path, nlohmann::json body, auto read) {
        if (!model.empty()) body["model"] = model;
        decltype(read(body)) result;
        server->post_each(path, {&body, 1}, [&](std::size_t, const nlohmann::json& answer) {
            result = read(answer);
        });
        return result;
    };
    return {.decode =
                [=](token_view tokens) {
                    return ask(
                        "/detokenize", {{"tokens", token_list{tokens.begin(), tokens.end()}}},
                        [=](const nlohmann::json& answer) {
                            return detail::field<std::string>(answer, llama ? "content" : "prompt");
                        });
                },
            .encode =
                [=](std::string_view text) {
                    const nlohmann::json body =
                        llama ? nlohmann::json{{"content", text}}
                              : nlohmann::json{{"prompt", text}, {"add_special_tokens", false}};
                    return ask("/tokenize", body, [](const nlohmann::json& answer) {
                        return detail::tokens_field(answer, "tokens");
                    });
                }};
}

}  // namespace tq::http
