#pragma once
// Steps, distributions and options as JSON (nlohmann_json). Target tq::json.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "../../decode/options.hpp"
#include "../../decode/step.hpp"
#include "../../rollout/options.hpp"

namespace tq {

/// Enums are written as their words, and read from them; others throw invalid_option.
template <named_enum Enum>
void to_json(nlohmann::json& json, Enum value) {
    json = word_of(value);
}
template <named_enum Enum>
void from_json(const nlohmann::json& json, Enum& value) {
    const auto word = json.is_string() ? json.get<std::string>() : json.dump();
    const std::optional<Enum> known = from_string<Enum>(word);
    std::string words;
    for (const auto& [_, name] : names_of(Enum{})) (words += words.empty() ? "" : ", ") += name;
    check_option(known.has_value(), "json", "word", word, "one of " + words);
    value = *known;
}

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

/// NaN and infinity have no JSON form: they are written as null. Candidates
/// whose Q rests on importance weights have `weights`.
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
    }
}

inline void to_json(nlohmann::json& json, const model_tokens& tokens) {
    json = {{"policy", tokens.policy}, {"baseline", tokens.baseline}, {"reward", tokens.reward}};
}

inline void to_json(nlohmann::json& json, const race_report& race) {
    json = {{"mode", race.mode},
            {"halved", race.halved},
            {"contenders", race.contenders},
            {"starters", race.starters},
            {"rounds", race.rounds},
            {"rollouts", race.rollouts},
            {"token_budget", race.token_budget}};
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
    json = {{"horizon", options.horizon},
            {"rollouts", options.rollouts},
            {"in_flight", options.in_flight},
            {"reuse", options.reuse},
            {"temperature", options.sampling.temperature},
            {"top_p", options.sampling.top_p}};
}

}  // namespace tq
