#pragma once
// Steps, distributions and options as JSON (nlohmann_json). Target tq::json.

#include <nlohmann/json.hpp>

#include "../../decode/options.hpp"
#include "../../decode/step.hpp"
#include "../../rollout/options.hpp"

namespace tq {

NLOHMANN_JSON_SERIALIZE_ENUM(weighting, {{weighting::self_normalised, "self_normalised"},
                                         {weighting::plain, "plain"},
                                         {weighting::tempered, "tempered"},
                                         {weighting::clipped, "clipped"},
                                         {weighting::pareto_smoothed, "pareto_smoothed"},
                                         {weighting::reference, "reference"},
                                         {weighting::unweighted, "unweighted"}})

inline void to_json(nlohmann::json& json, const weight_diagnostics& weights) {
    json = {{"positive", weights.positive},   {"ess", weights.ess},
            {"max_share", weights.max_share}, {"k_hat", weights.k_hat},
            {"used", weights.used},           {"power", weights.power},
            {"collapsed", weights.collapsed}, {"refused", weights.refused}};
}

inline void to_json(nlohmann::json& json, const weight_summary& weights) {
    json = {{"estimates", weights.estimates},
            {"collapsed", weights.collapsed},
            {"unweighted", weights.unweighted},
            {"refused", weights.refused}};
}

/// NaN and infinity have no JSON form: they are written as null. Candidates whose Q was shrunk
/// have `shrunk`, those whose Q rests on importance weights `weights`.
inline void to_json(nlohmann::json& json, const tilted_distribution& distribution) {
    json = nlohmann::json::array();
    for (std::size_t i = 0; i < distribution.size(); ++i) {
        json.push_back({{"token", distribution.tokens[i]},
                        {"log_pi", distribution.log_pi[i]},
                        {"log_prior", distribution.log_prior[i]},
                        {"q", distribution.q[i]},
                        {"q_error", distribution.q_error[i]},
                        {"rollouts", distribution.rollouts[i]},
                        {"log_p", distribution.log_p[i]}});
        if (!distribution.weights.empty() && distribution.weights[i])
            json.back()["weights"] = *distribution.weights[i];
        if (!distribution.shrunk.empty()) json.back()["shrunk"] = distribution.shrunk[i];
    }
}

inline void to_json(nlohmann::json& json, const model_tokens& tokens) {
    json = {{"policy", tokens.policy}, {"baseline", tokens.baseline}, {"reward", tokens.reward}};
}

NLOHMANN_JSON_SERIALIZE_ENUM(selection,
                             {{selection::sample, "sample"}, {selection::argmax, "argmax"}})

NLOHMANN_JSON_SERIALIZE_ENUM(race_mode, {{race_mode::exhaustive, "exhaustive"},
                                         {race_mode::exact, "exact"},
                                         {race_mode::confident, "confident"},
                                         {race_mode::halving, "halving"},
                                         {race_mode::automatic, "automatic"}})

NLOHMANN_JSON_SERIALIZE_ENUM(rollout_noise, {{rollout_noise::independent, "independent"},
                                             {rollout_noise::coupled, "coupled"},
                                             {rollout_noise::scenario, "scenario"}})

inline void to_json(nlohmann::json& json, const race_report& race) {
    json = {{"mode", race.mode},         {"contenders", race.contenders},
            {"starters", race.starters}, {"rounds", race.rounds},
            {"rollouts", race.rollouts}, {"token_budget", race.token_budget}};
}

inline void to_json(nlohmann::json& json, const step& step) {
    json = {{"prompt", step.prompt},
            {"position", step.position},
            {"token", step.token},
            {"choice", step.choice},
            {"ends", step.ends},
            {"kl", step.kl},
            {"alpha", step.distribution.alpha},
            {"log_z", step.distribution.log_z},
            {"spent", step.spent},
            {"race", step.race},
            {"weights", step.weights},
            {"candidates", step.distribution}};
}

inline void to_json(nlohmann::json& json, const decode_options& options) {
    json = {{"alpha", options.alpha},
            {"alpha_rule", static_cast<bool>(options.alpha_rule)},
            {"shrink", options.shrink},
            {"top_k", options.top_k},
            {"temperature", options.temperature},
            {"select", options.select},
            {"race", options.race},
            {"seed", options.seed},
            {"widen", options.widen},
            {"token_budget", options.token_budget},
            {"budget_front", options.budget_front}};
}

inline void to_json(nlohmann::json& json, const rollout_options& options) {
    json = {{"horizon", options.horizon},     {"rollouts", options.rollouts},
            {"in_flight", options.in_flight}, {"reuse", options.reuse},
            {"noise", options.noise},         {"temperature", options.sampling.temperature},
            {"top_p", options.sampling.top_p}};
}

}  // namespace tq
