#pragma once
// The models of an evaluation: one set of weights, and one baseline at a time.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../support/chat.hpp"
#include "../support/defaults.hpp"
#include "../support/timed.hpp"
#include "config.hpp"

namespace evaluation {

/// A prompt in the policy's tokens, by the configured format or the model's own template.
[[nodiscard]] inline tq::token_list prompt_of(const tq::llama_cpp::model_file& policy,
                                              const config& config, const prompt& asked) {
    return chat::tokens_of(policy, asked,
                           {.system = config.system, .format = config.prompt_format});
}

/// Context of models that read one finished answer at a time.
[[nodiscard]] inline std::size_t context_for(const std::vector<tq::token_list>& prompts,
                                             const config& config) {
    std::size_t longest = 0;
    for (const tq::token_list& prompt : prompts) longest = std::max(longest, prompt.size());
    return std::max<std::size_t>(4096, longest + config.tokens);
}

class models {
    // First: what follows is made with them.
    std::size_t threads_;
    const config& config_;
    tq::llama_cpp::model_file_options options_;

public:
    /// Throws invalid_option if a prompt with its answer is longer than the context.
    models(const config& c, const std::vector<prompt>& given, std::size_t threads)
        : threads_{threads},
          config_{c},
          options_{.gpu_layers = static_cast<int>(c.gpu_layers)},
          file{load(c.model)},
          trunk_{c.reward_model.empty() ? file : load(c.reward_model)},
          given_{given},
          prompts{tokens_of_all(file)},
          judged_{same_vocabulary(file, trunk_) ? prompts : tokens_of_all(trunk_)},
          policy_engine_{file, context("", 1)},
          reward_head_{trunk_, head(c), context("", 1)},
          judge_head_{trunk_, head(c), {.context = context_for(judged_, c), .threads = threads}},
          reward_text_{file, reward_head_},
          judge{file, judge_head_} {
        for (std::size_t i = 0; i < prompts.size(); ++i) {
            if (reward_text_.same_vocabulary()) break;
            reward_text_.add_prompt(prompts[i], judged_[i]);
            judge.add_prompt(prompts[i], judged_[i]);
        }
    }
    models(const models&) = delete;  // parts refer to each other
    models& operator=(const models&) = delete;
    ~models() = default;

    /// Loads a baseline; the one before it is let go.
    void use_baseline(const baseline_config& wanted) {
        if (baseline_ && wanted == baseline_is_) return;
        translated_.reset();
        baseline_.reset();
        baseline_engine_.reset();
        const tq::llama_cpp::model_file source = wanted.model.empty() ? file : load(wanted.model);
        baseline_engine_.emplace(source, context(wanted.lora, wanted.scale));
        baseline_.emplace(language_model{*baseline_engine_});
        baseline_is_ = wanted;
        const bool translates = !same_vocabulary(file, source);
        if (translates) translated_.emplace(file, *baseline_);
        const chat::setting set{.system = wanted.system.empty() ? config_.system : wanted.system,
                                .format = config_.prompt_format,
                                .always = !wanted.system.empty()};
        for (std::size_t i = 0; i < prompts.size(); ++i)
            if (translates)
                translated_->add_prompt(prompts[i],
                                        checked(i, chat::tokens_beside(source, given_[i], set)));
            else if (!wanted.system.empty())
                baseline_engine_->add_prompt_override(
                    {.replaces = prompts[i],
                     .with = checked(i, chat::tokens_of(file, given_[i], set))});
    }

    using language_model = timed<tq::llama_cpp::language_model>;  // a signal stops it between calls

    /// The one in use. Throws tq::invalid_option if it has another vocabulary.
    [[nodiscard]] language_model& baseline() {
        tq::llama_cpp::check_same_vocabulary(file, baseline_->source(), "baseline");
        return *baseline_;
    }

    /// The one in use, if it has another vocabulary.
    [[nodiscard]] tq::llama_cpp::text_baseline<language_model&>* translated() {
        return translated_ ? &*translated_ : nullptr;
    }

    void clear_caches() {
        policy_engine_.clear_cache();
        reward_head_.clear_cache();
        judge_head_.clear_cache();
        if (baseline_engine_) baseline_engine_->clear_cache();
    }

    /// By all of them, the judging of finished answers left out.
    [[nodiscard]] std::size_t tokens_decoded() const {
        return policy_engine_.tokens_decoded() + reward_head_.tokens_decoded() +
               (baseline_engine_ ? baseline_engine_->tokens_decoded() : 0);
    }

    tq::llama_cpp::model_file file;

private:
    tq::llama_cpp::model_file trunk_;
    const std::vector<prompt>& given_;

public:
    std::vector<tq::token_list> prompts;

private:
    std::vector<tq::token_list> judged_;  // the prompts in the reward's tokens
    tq::llama_cpp::language_model policy_engine_;
    tq::llama_cpp::reward_head reward_head_, judge_head_;
    tq::llama_cpp::text_reward<tq::llama_cpp::reward_head&> reward_text_;

public:
    tq::llama_cpp::text_reward<tq::llama_cpp::reward_head&>
        judge;  // of finished answers, one by one
    using reward_type = timed<tq::llama_cpp::text_reward<tq::llama_cpp::reward_head&>>;
    language_model policy{policy_engine_};
    reward_type reward{reward_text_};

private:
    [[nodiscard]] tq::llama_cpp::model_file load(const std::string& name) const {
        return tq::llama_cpp::model_file{demo_defaults::model_path(name), options_};
    }

    /// Of prompt `i`; refused if it is too long.
    [[nodiscard]] tq::token_list checked(std::size_t i, tq::token_list tokens) const {
        chat::check_length(tokens.size(), config_.first + i, config_.tokens, config_.context,
                           "the key context");
        return tokens;
    }
    [[nodiscard]] std::vector<tq::token_list> tokens_of_all(
        const tq::llama_cpp::model_file& model) const {
        std::vector<tq::token_list> result;
        const chat::setting set{.system = config_.system, .format = config_.prompt_format};
        for (std::size_t i = 0; i < given_.size(); ++i)
            result.push_back(checked(i, &model == &file
                                            ? chat::tokens_of(model, given_[i], set)
                                            : chat::tokens_beside(model, given_[i], set)));
        return result;
    }

    [[nodiscard]] tq::llama_cpp::language_model_options context(const std::string& lora,
                                                                double scale) const {
        return {.lora = lora,
                .lora_scale = static_cast<float>(scale),
                .context = config_.context,
                .max_sequences = 128,
                .threads = threads_};
    }

    [[nodiscard]] static std::string head(const config& config) {
        return config.reward.empty() ? demo_defaults::reward_head() : config.reward;
    }

    std::optional<tq::llama_cpp::language_model> baseline_engine_;
    std::optional<language_model> baseline_;
    std::optional<tq::llama_cpp::text_baseline<language_model&>> translated_;
    baseline_config baseline_is_;
};

}  // namespace evaluation
