#pragma once
// The race: find the token without the rollouts that cannot change it. See lane.hpp for how.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../core/error.hpp"
#include "lane.hpp"
#include "options.hpp"
#include "step.hpp"

namespace tq {

namespace detail {

/// A runner of some lane in a round.
struct race_run {
    std::size_t lane;
    contender* runner;
};

/// Asks for the pieces of a round one by one; contenders that fall behind in the middle are given
/// up.
template <piecewise_value Value>
void ask(Value& value, std::span<const decode_state> states, std::vector<race_lane>& lanes,
         std::span<const race_run> runs, std::span<const std::size_t> counts,
         std::span<tilted_distribution> distributions) {
    std::vector<std::vector<double>> rewards;
    std::vector<rollout_query> queries;
    rewards.reserve(runs.size());
    for (std::size_t j = 0; j < runs.size(); ++j) {
        const auto& [i, runner] = runs[j];
        std::vector<double>& place = rewards.emplace_back(counts[j]);
        queries.push_back({states[i], runner->token, runner->pieces.size(), place});
    }
    const rollout_progress progress = [&] {
        for (std::size_t j = 0; j < runs.size(); ++j)
            if (lanes[runs[j].lane].foresees())
                lanes[runs[j].lane].foresee(*runs[j].runner, rewards[j]);
        for (race_lane& lane : lanes)
            if (lane.foresees()) lane.mark_hopeless();
        for (std::size_t j = 0; j < runs.size(); ++j) queries[j].wanted = !runs[j].runner->out;
    };
    // Where nothing can be foreseen, rollouts are judged in one call.
    const bool foresees =
        std::ranges::any_of(lanes, [](const race_lane& lane) { return lane.foresees(); });
    value.sample(queries, foresees ? progress : rollout_progress{});

    for (std::size_t j = 0; j < runs.size(); ++j) {
        const auto& [i, runner] = runs[j];
        distributions[i].spent += queries[j].spent;
        std::erase_if(rewards[j], [](double reward) { return std::isnan(reward); });
        if (rewards[j].size() == counts[j]) {
            runner->pieces.insert(runner->pieces.end(), rewards[j].begin(), rewards[j].end());
            distributions[i].set(runner->index,
                                 value.combine(states[i], runner->token, runner->pieces));
        } else if (queries[j].wanted) {
            throw backend_error{"action value: a reward of token " + std::to_string(runner->token) +
                                " is NaN"};
        }
        lanes[i].count(*runner, rewards[j].size(), rewards[j].size());
    }
}

/// Asks for the Q of a round's contenders, which come whole: one query for each lane.
template <action_value Value>
void ask(Value& value, std::span<const decode_state> states, std::vector<race_lane>& lanes,
         std::span<const race_run> runs, std::span<const std::size_t> /*counts*/,
         std::span<tilted_distribution> distributions) {
    token_list tokens;
    for (const race_run& run : runs) tokens.push_back(run.runner->token);
    std::vector<value_estimate> values(runs.size());
    std::vector<value_query> queries;
    for (std::size_t begin = 0, end = 0; begin < runs.size(); begin = end) {
        while (end < runs.size() && runs[end].lane == runs[begin].lane) ++end;
        queries.push_back({states[runs[begin].lane], token_view{tokens}.subspan(begin, end - begin),
                           std::span{values}.subspan(begin, end - begin)});
    }
    value.evaluate(queries);
    for (std::size_t j = 0; j < runs.size(); ++j) {
        const auto& [i, runner] = runs[j];
        distributions[i].set(runner->index, values[j]);
        runner->pieces.push_back(values[j].q);
        lanes[i].count(*runner, 1, values[j].rollouts);
    }
}

/// One round of every lane, in one call of the value. Returns false if nobody had to run.
template <action_value Value>
[[nodiscard]] bool run_round(Value& value, std::span<const decode_state> states,
                             std::vector<race_lane>& lanes,
                             std::span<tilted_distribution> distributions) {
    std::vector<race_run> runs;
    std::vector<std::size_t> counts;
    for (std::size_t i = 0; i < lanes.size(); ++i)
        for (const auto& [runner, count] : lanes[i].next_round()) {
            runs.push_back({i, runner});
            counts.push_back(count);
        }
    if (runs.empty()) return false;
    ask(value, states, lanes, runs, counts, distributions);
    for (race_lane& lane : lanes) lane.settle();
    return true;
}

}  // namespace detail

/// Who won a race, and how.
struct race_outcome {
    std::size_t winner = 0;   ///< index in the distribution
    bool complete = false;    ///< every rollout of every candidate was done: Q is known throughout
    race_report report = {};  ///< how it went
};

/// Races the candidates of many states at once; race_mode::exhaustive drops nobody. A round of
/// every state shares one call of the value. Fills q, q_error, rollouts and spent of what was
/// evaluated. Throws backend_error if a Q is NaN, and whatever the value throws.
template <action_value Value>
[[nodiscard]] std::vector<race_outcome> run_race(Value& value, const decode_options& options,
                                                 race_mode mode,
                                                 std::span<const decode_state> states,
                                                 std::span<tilted_distribution> distributions) {
    std::vector<detail::race_lane> lanes;
    for (std::size_t i = 0; i < states.size(); ++i)
        lanes.emplace_back(distributions[i], options, states[i], value, mode);
    while (detail::run_round(value, states, lanes, distributions)) {
    }
    std::vector<race_outcome> outcomes;
    for (const detail::race_lane& lane : lanes)
        outcomes.push_back({lane.winner(), lane.complete(), lane.report()});
    return outcomes;
}

}  // namespace tq
