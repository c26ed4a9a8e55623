#pragma once
// Conversations as the text that a model's chat template makes of them.

#include <llama.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../../core/error.hpp"

namespace tq::llama_cpp {

/// What one side says in a conversation.
struct chat_turn {
    std::string role;  ///< system, user or assistant
    std::string text;  ///< UTF-8, without NULs
};

namespace detail {

/// The turns by the template of `weights`, up to where the model's answer begins.
/// Throws invalid_option, which names `path`, if it has none, or one that llama.cpp does not know,
/// or a text has a NUL.
[[nodiscard]] inline std::string chat_text(const llama_model* weights, const std::string& path,
                                           std::span<const chat_turn> turns) {
    const char* pattern = llama_model_chat_template(weights, nullptr);
    if (pattern == nullptr)
        throw invalid_option{"model_file::chat_prompt: " + path + " has no chat template"};
    std::vector<llama_chat_message> messages;
    std::size_t size = 256;
    for (const chat_turn& turn : turns) {
        check_option(turn.text.find('\0') == std::string::npos, "model_file::chat_prompt", "text",
                     "one with a NUL", "without NULs");
        messages.push_back({turn.role.c_str(), turn.text.c_str()});
        size += 2 * turn.text.size();
    }
    std::string text(size, '\0');
    for (int attempt = 0; attempt < 2; ++attempt) {
        const auto room = static_cast<std::int32_t>(text.size());
        const std::int32_t written = llama_chat_apply_template(
            pattern, messages.data(), messages.size(), true, text.data(), room);
        if (written < 0) break;
        text.resize(static_cast<std::size_t>(written));
        if (written <= room) return text;
    }
    throw invalid_option{"model_file::chat_prompt: llama.cpp does not know the chat template of " +
                         path};
}

}  // namespace detail
}  // namespace tq::llama_cpp
