#pragma once
// The summary of an evaluation: as JSON, from which everything else is made; as a table; as CSV.

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config.hpp"
#include "journal.hpp"
#include "measure.hpp"

namespace evaluation {

/// All figures. Means are over prompts, of which each is the mean of its seeds; standard errors and
/// comparisons are over prompts, paired; intervals are bootstrapped (95 %).
[[nodiscard]] nlohmann::json results_of(const config& config,
                                        const std::vector<std::string>& prompts,
                                        const journal& journal, const measurements& measured,
                                        const std::map<std::string, timing>& timings,
                                        const std::string& command);

[[nodiscard]] std::string table_of(const nlohmann::json& results);
[[nodiscard]] std::string csv_of(const nlohmann::json& results);

}  // namespace evaluation
