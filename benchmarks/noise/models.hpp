#pragma once
// The demo's models.

#include <fmt/format.h>

#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../../examples/programs/support/defaults.hpp"

namespace noise {

struct models {
    explicit models(std::size_t threads)
        : file{demo_defaults::model()},
          policy{file, context({}, threads)},
          baseline{file, context(demo_defaults::baseline_lora(), threads)},
          reward{file, demo_defaults::reward_head(), context({}, threads)},
          judge{file, demo_defaults::reward_head(), {.threads = threads}} {}

    [[nodiscard]] static tq::llama_cpp::language_model_options context(const std::string& lora,
                                                                       std::size_t threads) {
        return {.lora = lora, .context = 16384, .max_sequences = 128, .threads = threads};
    }

    /// The first prompts of a file of JSON lines. Throws invalid_option if there are fewer.
    [[nodiscard]] std::vector<tq::token_list> prompts(const std::string& path,
                                                      std::size_t count) const {
        std::ifstream stream{path};
        std::vector<tq::token_list> result;
        for (std::string line; result.size() < count && std::getline(stream, line);)
            result.push_back(
                file.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>()));
        if (result.size() < count)
            throw tq::invalid_option{fmt::format("noise: {} has only {} prompts, {} are wanted",
                                                 path, result.size(), count)};
        return result;
    }

    void clear_caches() {
        policy.clear_cache();
        baseline.clear_cache();
        reward.clear_cache();
    }

    [[nodiscard]] std::size_t tokens_decoded() const {
        return policy.tokens_decoded() + baseline.tokens_decoded() + reward.tokens_decoded();
    }

    tq::llama_cpp::model_file file;
    tq::llama_cpp::language_model policy, baseline;
    tq::llama_cpp::reward_head reward, judge;  // judge: of final answers, not counted
};

}  // namespace noise
