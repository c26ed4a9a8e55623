#pragma once
// Measures states of real answers: the baseline's own, to the prompts of a file.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <tq/tq.hpp>

#include "models.hpp"
#include "table.hpp"

namespace noise {

struct measure_settings {
    std::size_t rollouts = 48, top_k = 8, tokens = 32, deepest = 16;
};

class measurer {
public:
    measurer(models& models, const measure_settings& settings)
        : models_{models},
          settings_{settings} {}

    /// The state after some tokens (0 to `deepest`, by the number) of a sampled answer to `prompt`.
    measured_state measure(const tq::token_list& prompt, std::size_t number) {
        const std::size_t depth = number * 7 % (settings_.deepest + 1);
        const tq::random_key key = tq::random_key{1}.fold_in(number);
        const tq::rollout_request request{.sequence = prompt,
                                          .max_tokens = depth,
                                          .end_tokens = models_.baseline.end_tokens(),
                                          .key = key};
        const tq::token_list sequence =
            tq::run_rollouts(models_.baseline, {&request, 1}, {.temperature = 1}).front().sequence;
        const std::size_t position = sequence.size() - prompt.size();
        const tq::decode_state state{.sequence = sequence,
                                     .prompt_size = prompt.size(),
                                     .tokens_left = settings_.tokens - position,
                                     .end_tokens = models_.baseline.end_tokens(),
                                     .key = key.fold_in(1)};
        measured_state result{.prompt = number,
                              .position = position,
                              .tokens_left = state.tokens_left,
                              .log_baseline = {},
                              .log_policy = {},
                              .rewards = {},
                              .looks = {},
                              .spent = {}};
        // What it costs is counted in a cold cache: each kind of look reads its own tokens.
        const std::vector<tq::token_id> tokens = candidates(state, result);
        for (const auto& [name, horizon] : looks) {
            tq::direct_transfer q{models_.baseline, models_.reward, {.horizon = horizon}};
            std::vector<double>& values = result.looks[name];
            for (const std::vector<double>& row : rewards(q, state, tokens, 1, result.spent[name]))
                values.push_back(row.front());
        }
        const std::size_t count = settings_.rollouts;
        tq::direct_transfer q{
            models_.baseline, models_.reward, {.rollouts = count, .sampling = {.temperature = 1}}};
        double spent = 0;
        result.rewards = rewards(q, state, tokens, count, spent);
        result.spent["sample"] = spent / static_cast<double>(count);
        return result;
    }

private:
    static constexpr std::pair<const char*, std::size_t> looks[] = {
        {"greedy", 32}, {"greedy_16", 16}, {"greedy_8", 8}, {"args", 0}};

    std::vector<tq::token_id> candidates(const tq::decode_state& state, measured_state& result) {
        tq::scorer prior{
            models_.policy, tq::zero_value{}, models_.baseline, {.top_k = settings_.top_k}};
        const tq::tilted_distribution distribution = prior.score(state);
        result.log_baseline = distribution.log_prior;
        result.log_policy = distribution.log_pi;
        return distribution.tokens;
    }

    template <class Value>
    static reward_table rewards(Value& q, const tq::decode_state& state,
                                std::span<const tq::token_id> tokens, std::size_t count,
                                double& spent) {
        reward_table result(tokens.size(), std::vector<double>(count));
        std::vector<tq::rollout_query> queries;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (q.rollouts(state, tokens[i]) == 1) result[i].resize(1);
            queries.push_back({state, tokens[i], 0, result[i]});
        }
        q.sample(queries);
        for (const tq::rollout_query& query : queries)
            spent += static_cast<double>(query.spent.baseline + query.spent.reward);
        for (std::vector<double>& row : result) {
            for (double& r : row) {
                if (!(r >= 0 && r <= 1))
                    throw tq::backend_error{"noise: a reward is outside [0, 1]"};
                r = std::round(r * 1e6) / 1e6;  // short in the file
            }
            row.resize(count, row.front());  // an ended answer is worth what it is worth
        }
        return result;
    }

    models& models_;
    measure_settings settings_;
};

/// Measures the states from number `first` on, one for each prompt; appends them to `path` unless it is
/// empty.
inline std::vector<measured_state> record_states(models& models,
                                                 const std::vector<tq::token_list>& prompts,
                                                 const measure_settings& settings,
                                                 std::size_t first, const std::string& path) {
    measurer measurer{models, settings};
    std::vector<measured_state> result;
    std::ofstream file;
    if (!path.empty()) file.open(path, std::ios::app);
    for (std::size_t i = first; i < prompts.size(); ++i) {
        fmt::print(stderr, "\r\033[Kstate {}/{}", i + 1, prompts.size());
        result.push_back(measurer.measure(prompts[i], i));
        if (path.empty()) continue;
        file << nlohmann::json(result.back()).dump() << '\n' << std::flush;
        if (!file) throw tq::invalid_option{"noise: cannot write " + path};
    }
    fmt::print(stderr, "\r\033[K");
    return result;
}

}  // namespace noise
