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
/// Throws invalid_option for dialect::openai, which has no such paths, and as client does.
[[nodiscard]] inline text_codec server_codec(dialect speaks, server_options options,
                                             const std::string& model = {}) {
    check_option(speaks != dialect::openai, "server_codec", "dialect", "openai",
                 "llama_cpp or vllm: others have no path for tokens");
    const auto server = std::make_shared<client>(std::move(options));
    const bool llama = speaks == dialect::llama_cpp;
    return {.decode =
                [=](token_view tokens) {
                    nlohmann::json body{{"tokens", token_list{tokens.begin(), tokens.end()}}};
                    if (!model.empty()) body["model"] = model;
                    return detail::field<std::string>(server->post("/detokenize", body),
                                                      llama ? "content" : "prompt", "detokenize");
                },
            .encode =
                [=](std::string_view text) {
                    nlohmann::json body =
                        llama ? nlohmann::json{{"content", text}}
                              : nlohmann::json{{"prompt", text}, {"add_special_tokens", false}};
                    if (!model.empty()) body["model"] = model;
                    return detail::field<token_list>(server->post("/tokenize", body), "tokens",
                                                     "tokenize");
                }};
}

}  // namespace tq::http
