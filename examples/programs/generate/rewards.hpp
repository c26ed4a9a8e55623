#pragma once
// The rewards that `generate` can be given: linear heads from files, and rules by name.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/rewards/combined.hpp>
#include <tq/tq.hpp>

#include "arguments.hpp"

/// "Short and plain": the mean of three shares in [0, 1], which fall with the words of a sentence (5 to
/// 25), the letters of a word (3.5 to 6) and the words of the answer (0 to 40); less 0.2 for each
/// exclamation mark; in [0, 1]. 0 without words. The rule of examples/research/assets/scripts/rewards.py.
[[nodiscard]] double brevity_of(const std::string& text);

/// The rewards asked for, as a weighted sum. Heads on one trunk share its weights; if it has another
/// vocabulary than the policy, answers pass as text.
class reward_set {
public:
    reward_set(const arguments& args, const tq::llama_cpp::model_file& policy);

    /// A prompt, in the policy's tokens and in the reward model's, which is asked for by
    /// asks_prompts().
    void set_prompt(const tq::token_list& policys, const tq::token_list& rewards);
    /// True if the reward model has another vocabulary.
    [[nodiscard]] bool asks_prompts() const;
    /// What the heads read.
    [[nodiscard]] const tq::llama_cpp::model_file& trunk() const noexcept { return trunk_; }

    /// Models tq::batch_reward.
    void score(std::span<const tq::answer_view> answers, std::span<double> values) {
        sum_.score(answers, values);
    }
    [[nodiscard]] tq::reward_range range() const { return sum_.range(); }

    /// The whole, and the terms by themselves.
    [[nodiscard]] tq::weighted_sum& sum() noexcept { return sum_; }

    /// Forgets what the heads have read.
    void clear_caches();
    /// Of all heads so far.
    [[nodiscard]] std::size_t tokens_decoded() const noexcept;
    [[nodiscard]] std::size_t decodes() const noexcept;

private:
    [[nodiscard]] tq::weighted_sum build(const arguments& args,
                                         const tq::llama_cpp::model_file& policy);

    using head_in_text = tq::llama_cpp::text_reward<tq::llama_cpp::reward_head&>;

    tq::llama_cpp::model_file trunk_;
    std::vector<std::unique_ptr<tq::llama_cpp::reward_head>> heads_;
    std::vector<std::unique_ptr<head_in_text>> texts_;  // one for each head
    tq::weighted_sum sum_;
};
