#pragma once
// The models of an evaluation: one set of weights, and one baseline at a time.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../support/defaults.hpp"
#include "config.hpp"

namespace evaluation {

/// A prompt in the policy's tokens, by the configured format or the model's own template.
[[nodiscard]] inline tq::token_list prompt_of(const tq::llama_cpp::model_file& policy,
                                              const config& config, const std::string& text,
                                              const std::string& system) {
    if (config.prompt_format.empty()) return policy.chat_prompt(text, system);
    std::string whole = config.prompt_format;
    whole.replace(whole.find("{prompt}"), std::string{"{prompt}"}.size(), text);
    if (!system.empty()) whole = system + "\n\n" + whole;
    return policy.tokenize(whole, {.add_special = true});
}

class models {
    // First: what follows is made with them.
    std::size_t threads_;
    tq::llama_cpp::model_file_options options_;

public:
    models(const config& c, const std::vector<std::string>& texts, std::size_t threads)
        : threads_{threads},
          options_{.gpu_layers = static_cast<int>(c.gpu_layers)},
          file{load(c.model)},
          policy{file, context("", 1)},
          trunk_{c.reward_model.empty() ? file : load(c.reward_model)},
          reward_head_{trunk_, head(c), context("", 1)},
          judge_head_{trunk_, head(c), {.threads = threads}},
          reward{file, reward_head_},
          judge{file, judge_head_},
          texts_{texts},
          config_{c} {
        for (const std::string& text : texts) {
            prompts.push_back(prompt_of(file, c, text, c.system));
            if (reward.same_vocabulary()) continue;
            const tq::token_list theirs = trunk_.chat_prompt(text);
            reward.add_prompt(prompts.back(), theirs);
            judge.add_prompt(prompts.back(), theirs);
        }
    }

    /// Loads a baseline; the one before it is let go.
    void use_baseline(const baseline_config& wanted) {
        if (baseline_ && wanted == baseline_is_) return;
        translated_.reset();
        baseline_.reset();
        const tq::llama_cpp::model_file source = wanted.model.empty() ? file : load(wanted.model);
        baseline_.emplace(source, context(wanted.lora, wanted.scale));
        baseline_is_ = wanted;
        const bool translates = !tq::llama_cpp::same_vocabulary(file, source);
        if (translates) translated_.emplace(file, *baseline_);
        for (std::size_t i = 0; i < prompts.size(); ++i)
            if (translates)
                translated_->add_prompt(prompts[i], source.chat_prompt(texts_[i], wanted.system));
            else if (!wanted.system.empty())
                baseline_->add_prompt_override(
                    {.replaces = prompts[i],
                     .with = prompt_of(file, config_, texts_[i], wanted.system)});
    }

    /// The one in use. Throws tq::invalid_option if it has another vocabulary.
    [[nodiscard]] tq::llama_cpp::language_model& baseline() {
        tq::llama_cpp::check_same_vocabulary(file, baseline_->source(), "baseline");
        return *baseline_;
    }

    /// The one in use, if it has another vocabulary.
    [[nodiscard]] tq::llama_cpp::text_baseline<tq::llama_cpp::language_model&>* translated() {
        return translated_ ? &*translated_ : nullptr;
    }

    void clear_caches() {
        policy.clear_cache();
        reward_head_.clear_cache();
        judge_head_.clear_cache();
        if (baseline_) baseline_->clear_cache();
    }

    /// By all of them, the judging of finished answers left out.
    [[nodiscard]] std::size_t tokens_decoded() const {
        return policy.tokens_decoded() + reward_head_.tokens_decoded() +
               (baseline_ ? baseline_->tokens_decoded() : 0);
    }

    tq::llama_cpp::model_file file;
    tq::llama_cpp::language_model policy;

private:
    tq::llama_cpp::model_file trunk_;
    tq::llama_cpp::reward_head reward_head_, judge_head_;

public:
    using reward_type = tq::llama_cpp::text_reward<tq::llama_cpp::reward_head&>;
    reward_type reward, judge;  // judge: of finished answers, one by one
    std::vector<tq::token_list> prompts;

private:
    [[nodiscard]] tq::llama_cpp::model_file load(const std::string& name) const {
        return tq::llama_cpp::model_file{demo_defaults::model_path(name), options_};
    }

    [[nodiscard]] tq::llama_cpp::language_model_options context(const std::string& lora,
                                                                double scale) const {
        return {.lora = lora,
                .lora_scale = static_cast<float>(scale),
                .context = 16384,
                .max_sequences = 128,
                .threads = threads_};
    }

    [[nodiscard]] static std::string head(const config& config) {
        return config.reward.empty() ? demo_defaults::reward_head() : config.reward;
    }
    std::vector<std::string> texts_;
    const config& config_;
    std::optional<tq::llama_cpp::language_model> baseline_;
    std::optional<tq::llama_cpp::text_baseline<tq::llama_cpp::language_model&>> translated_;
    baseline_config baseline_is_;
};

}  // namespace evaluation
