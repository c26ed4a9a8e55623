#pragma once
// Which prompt of another model stands for which of the policy's.

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/token.hpp"

namespace tq::llama_cpp::detail {

struct prompt_pair {
    token_list policy, other;
};

class prompt_pairs {
public:
    /// `where` begins the errors.
    explicit prompt_pairs(std::string_view where) : where_{where} {}

    /// Throws invalid_option if `other` is empty.
    void add(token_list policy, token_list other) {
        check_option(!other.empty(), where_, "prompt size", 0, ">= 1");
        pairs_.push_back({std::move(policy), std::move(other)});
    }
    void clear() noexcept { pairs_.clear(); }

    /// The longest pair that `sequence` begins with. Throws invalid_option if there is none.
    [[nodiscard]] const prompt_pair& of(token_view sequence) const {
        const prompt_pair* best = nullptr;
        for (const prompt_pair& pair : pairs_)
            if (pair.policy.size() <= sequence.size() &&
                std::ranges::equal(pair.policy, sequence.first(pair.policy.size())) &&
                (best == nullptr || pair.policy.size() > best->policy.size()))
                best = &pair;
        check_option(best != nullptr, where_, "sequence", "one without a prompt",
                     "one that begins with a prompt given to add_prompt");
        return *best;
    }

private:
    std::string_view where_;  // a literal
    std::vector<prompt_pair> pairs_;
};

}  // namespace tq::llama_cpp::detail
