#pragma once
// Rewards of the candidates of some states: what a study of decisions needs to know.

#include <cstddef>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <tq/core/error.hpp>

namespace noise {

/// rewards[candidate][rollout]
using reward_table = std::vector<std::vector<double>>;

/// One state, its candidates (the top_k of the baseline) and what they were found to be worth.
struct measured_state {
    std::size_t prompt = 0, position = 0, tokens_left = 0;
    std::vector<double> log_baseline, log_policy;  // [k] log-probability of each candidate
    reward_table rewards;  // of independent sampled rollouts to the end of the answer
    /// Q from one look of another kind: "greedy" to the end, "greedy_16", "greedy_8" cut, "args".
    std::map<std::string, std::vector<double>> looks;  // [k] each
    /// Model tokens of look-ahead, all candidates together: of each look, and "sample": of one
    /// sampled rollout each, on average.
    std::map<std::string, double> spent;

    NLOHMANN_DEFINE_TYPE_INTRUSIVE(measured_state, prompt, position, tokens_left, log_baseline,
                                   log_policy, rewards, looks, spent)
};

/// JSON lines, a state each. Throws invalid_option if there is none.
inline std::vector<measured_state> read_states(const std::string& path) {
    std::ifstream file{path};
    std::vector<measured_state> states;
    for (std::string line; std::getline(file, line);)
        states.push_back(nlohmann::json::parse(line).get<measured_state>());
    if (states.empty()) throw tq::invalid_option{"noise: no states in " + path};
    return states;
}

}  // namespace noise
