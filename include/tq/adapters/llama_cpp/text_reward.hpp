#pragma once
// text_reward: a reward with another vocabulary than the policy's; answers travel as text.

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../concepts/reward.hpp"
#include "../../core/trajectory.hpp"
#include "model_file.hpp"
#include "pieces.hpp"
#include "prompt_pairs.hpp"

namespace tq::llama_cpp {

/// A reward on its own tokens as one for a policy with another vocabulary.
///
/// An answer's bytes become tokens of the reward's model, behind that model's counterpart of the
/// prompt, which add_prompt() has. If both vocabularies are the same, answers pass as they are.
///
///  * Bytes of a character that the answer cuts in the middle come through, spelled by single
///    bytes.
///  * A token more may spell the text's end anew, so the reward may have to read a few tokens more
///    than model_tokens counts.
///
/// `Reward` is a reward with source(), such as reward_head; held by reference if an lvalue, which
/// must outlive the object, else moved in. Not thread-safe.
template <class Reward>
class text_reward {
    static_assert(explain_reward<std::remove_reference_t<Reward>>());

public:
    /// policy: whose tokens come in.
    text_reward(model_file policy, Reward&& reward)
        : policy_{std::move(policy)},
          reward_(std::forward<Reward>(reward)),
          pieces_{reward_.source()},
          same_{llama_cpp::same_vocabulary(policy_, reward_.source())} {}

    /// From now on prompts that begin with `policy_prompt` are judged as `reward_prompt`, in the
    /// reward's tokens; what more a prompt has counts as answer. Of several that match, the longest
    /// holds. Unused if the vocabularies are the same. Throws invalid_option if reward_prompt is
    /// empty.
    void add_prompt(token_list policy_prompt, token_list reward_prompt) {
        prompts_.add(std::move(policy_prompt), std::move(reward_prompt));
    }
    /// Forgets all prompts.
    void clear_prompts() noexcept { prompts_.clear(); }

    /// True if nothing is translated, and no prompts are needed.
    [[nodiscard]] bool same_vocabulary() const noexcept { return same_; }

    /// values[i] = r(answers[i]). Throws invalid_option for a prompt that no prompt of add_prompt
    /// begins; what the reward throws passes through.
    void score(std::span<const answer_view> answers, std::span<double> values) {
        if (same_) return score_answers(reward_, answers, values, "text_reward");
        translated_.resize(answers.size());
        views_.clear();
        for (std::size_t i = 0; i < answers.size(); ++i) {
            const token_list& prompt = translate(answers[i], translated_[i]);
            views_.push_back({prompt, translated_[i], answers[i].finished});
        }
        score_answers(reward_, std::span<const answer_view>{views_}, values, "text_reward");
    }

    /// The one that the reward states; infinite if it states none.
    [[nodiscard]] reward_range range() const { return range_of(reward_).value_or(reward_range{}); }

private:
    /// The answer in the reward's tokens; returns its prompt.
    const token_list& translate(const answer_view& answer, token_list& translated) const {
        const detail::prompt_pair& prompt = prompts_.of(answer.prompt);
        std::string text;
        for (const token_id token : answer.prompt.subspan(prompt.policy.size()))
            text += policy_.piece(token);
        for (const token_id token : answer.answer) text += policy_.piece(token);
        translated = pieces_.tokenize(text);
        return prompt.other;
    }

    model_file policy_;
    Reward reward_;
    detail::piece_table pieces_;
    bool same_;
    detail::prompt_pairs prompts_{"text_reward"};
    std::vector<token_list> translated_;  // of the present call
    std::vector<answer_view> views_;      // of the present call
};

template <class Reward>
text_reward(model_file, Reward&&) -> text_reward<Reward>;

}  // namespace tq::llama_cpp
