#pragma once
// Asking an action value without a decoder.

#include <span>
#include <tq/concepts/action_value.hpp>
#include <vector>

namespace tq::test {

/// A decode_state that owns its tokens.
struct question {
    token_list sequence{};
    std::size_t prompt_size = 0, tokens_left = 1;
    token_list end_tokens{};
    random_key key{};

    [[nodiscard]] decode_state state() const {
        return {sequence, prompt_size, tokens_left, end_tokens, key};
    }
};

/// The values of the same candidates in several states, asked in one call.
template <action_value Value>
std::vector<std::vector<value_estimate>> ask_all(Value& value,
                                                 const std::vector<question>& questions,
                                                 const token_list& candidates) {
    std::vector<std::vector<value_estimate>> values(questions.size(),
                                                    std::vector<value_estimate>(candidates.size()));
    std::vector<value_query> queries;
    for (std::size_t i = 0; i < questions.size(); ++i)
        queries.push_back({questions[i].state(), candidates, values[i]});
    value.evaluate(queries);
    return values;
}

template <action_value Value>
std::vector<value_estimate> ask(Value& value, const question& question,
                                const token_list& candidates) {
    return ask_all(value, {question}, candidates).front();
}

}  // namespace tq::test
