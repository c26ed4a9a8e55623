#pragma once
// What many prompts were decoded to.

#include <tq/core/token.hpp>
#include <vector>

namespace tq::test {

/// The answers of a generation as far as they have come, in the order of their prompts.
template <class Generation>
std::vector<token_list> answers_of(const Generation& answers) {
    std::vector<token_list> all;
    for (std::size_t i = 0; i < answers.size(); ++i)
        all.emplace_back(answers.answer(i).begin(), answers.answer(i).end());
    return all;
}

}  // namespace tq::test
