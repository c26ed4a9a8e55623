#pragma once
// Prompts as the tokens of a model.

#include <fmt/format.h>

#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <utility>
#include <vector>

#include "prompts.hpp"

namespace chat {

/// A text with "{prompt}" filled in, wherever it stands.
inline std::string filled_in(std::string pattern, const std::string& text) {
    constexpr std::string_view place = "{prompt}";
    for (auto at = pattern.find(place); at != pattern.npos;
         at = pattern.find(place, at + text.size()))
        pattern.replace(at, place.size(), text);
    return pattern;
}

/// What models are given beside the prompt.
struct setting {
    std::string system = {};  ///< system message of prompts that bring none along
    std::string format = {};  ///< a text with {prompt}, in the place of the model's chat template
    bool always = false;      ///< the system message is that of all prompts
    const char* option = "--prompt-format, or the key prompt_format";  ///< sets the format
};

/// A prompt in a model's tokens, by the format or, without one, the model's chat template.
/// Throws invalid_option if there is neither.
inline tq::token_list tokens_of(const tq::llama_cpp::model_file& model,
                                const prompts::prompt& prompt, const setting& set) {
    std::vector<tq::llama_cpp::chat_turn> turns;
    for (const prompts::turn& turn : prompt.turns)
        if (turn.role != "system" || !set.always) turns.push_back({turn.role, turn.text});
    if (!set.system.empty() && turns.front().role != "system")
        turns.insert(turns.begin(), {"system", set.system});
    if (set.format.empty() && !model.has_chat_template())
        throw tq::invalid_option{
            fmt::format("{} has no chat template; give a text with {{prompt}} in its place, "
                        "\"{{prompt}}\\n\" say: {}",
                        model.path(), set.option)};
    if (set.format.empty()) return model.chat_prompt(turns);
    std::string text = filled_in(set.format, prompt.text());
    if (turns.front().role == "system") text = turns.front().text + "\n\n" + text;
    return model.tokenize_prompt(text);
}

/// The same for a model beside the policy: its own chat template comes before the policy's format.
inline tq::token_list tokens_beside(const tq::llama_cpp::model_file& model,
                                    const prompts::prompt& prompt, setting set) {
    if (model.has_chat_template()) set.format.clear();
    return tokens_of(model, prompt, set);
}

/// A prompt that does not fit with its answer; names it, and the option that sets the context.
class too_long : public tq::invalid_option {
public:
    too_long(std::size_t number, std::size_t tokens, std::size_t answer, std::size_t context,
             const char* option)
        : invalid_option{
              fmt::format("prompt {} has {} tokens, which with an answer of {} are more than the "
                          "context of {}; {} sets it",
                          number, tokens, answer, context, option)} {}
};

/// Throws too_long unless prompt and answer fit.
inline void check_length(std::size_t prompt, std::size_t number, std::size_t answer,
                         std::size_t context, const char* option) {
    if (prompt + answer > context) throw too_long{number, prompt, answer, context, option};
}

}  // namespace chat
