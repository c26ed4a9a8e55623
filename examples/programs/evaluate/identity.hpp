#pragma once
// What answers depend on beside the configuration: other contents, other answers.

#include <cstddef>
#include <nlohmann/json.hpp>
#include <vector>

#include "config.hpp"

namespace evaluation {

/// Digests of the prompts, the model, the reward and the program itself, and the number of threads, by the
/// names that an error gives them.
[[nodiscard]] nlohmann::json identity_of(const config& config, const std::vector<prompt>& prompts,
                                         std::size_t threads);

/// Digests of the files of one method's baseline.
[[nodiscard]] nlohmann::json identity_of(const method_config& method);

/// Of a judge: its command, and of the files that the command names.
[[nodiscard]] nlohmann::json identity_of(const config& config, const judge_config& judge);

/// The keys on which two objects differ: "a, b".
[[nodiscard]] std::string differences(const nlohmann::json& a, const nlohmann::json& b);

}  // namespace evaluation
