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

class models {
    // First: what follows is made with them.
    std::size_t threads_;
    tq::llama_cpp::model_options options_;

public:
    models(const config& config, const std::vector<std::string>& texts, std::size_t threads)
        : threads_{threads},
          options_{.gpu_layers = static_cast<int>(config.gpu_layers)},
          weights{config.model.empty() ? demo_defaults::model() : config.model, options_},
          policy{weights, context("", 1)},
          trunk_{config.reward_model.empty() ? weights
                                             : tq::llama_cpp::model{config.reward_model, options_}},
          reward{trunk_, head(config), context("", 1)},
          judge{trunk_, head(config), {.threads = threads}},
          texts_{texts} {
        tq::llama_cpp::check_same_vocabulary(weights, trunk_, "reward_model");
        for (const std::string& text : texts)
            prompts.push_back(weights.chat_prompt(text, config.system));
    }

    /// The baseline of that kind; the one before it is let go.
    [[nodiscard]] tq::llama_cpp::language_model& baseline(const baseline_config& wanted) {
        if (!baseline_ || !(wanted == baseline_is_)) {
            baseline_.reset();
            const tq::llama_cpp::model source =
                wanted.model.empty() ? weights : tq::llama_cpp::model{wanted.model, options_};
            tq::llama_cpp::check_same_vocabulary(weights, source, "baseline");
            baseline_.emplace(source, context(wanted.lora, wanted.scale));
            baseline_is_ = wanted;
            for (std::size_t i = 0; i < prompts.size() && !wanted.system.empty(); ++i)
                baseline_->add_prompt_override(
                    {.replaces = prompts[i],
                     .with = weights.chat_prompt(texts_[i], wanted.system)});
        }
        return *baseline_;
    }

    void clear_caches() {
        policy.clear_cache();
        reward.clear_cache();
        judge.clear_cache();
        if (baseline_) baseline_->clear_cache();
    }

    /// By all of them, the judging of finished answers left out.
    [[nodiscard]] std::size_t tokens_decoded() const {
        return policy.tokens_decoded() + reward.tokens_decoded() +
               (baseline_ ? baseline_->tokens_decoded() : 0);
    }

    tq::llama_cpp::model weights;
    tq::llama_cpp::language_model policy;

private:
    tq::llama_cpp::model trunk_;

public:
    tq::llama_cpp::reward_head reward, judge;  // judge: of finished answers, one by one
    std::vector<tq::token_list> prompts;

private:
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
    std::optional<tq::llama_cpp::language_model> baseline_;
    baseline_config baseline_is_;
};

}  // namespace evaluation
