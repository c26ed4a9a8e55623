#pragma once
// The words by which the programs' options and configurations call the library's choices.

#include <map>
#include <string>

#include <tq/decode/options.hpp>
#include <tq/estimate/normalise.hpp>
#include <tq/rollout/options.hpp>

namespace names {

inline const std::map<std::string, tq::selection> selections{{"sample", tq::selection::sample},
                                                             {"argmax", tq::selection::argmax}};
inline const std::map<std::string, tq::race_mode> races{{"exhaustive", tq::race_mode::exhaustive},
                                                        {"exact", tq::race_mode::exact},
                                                        {"confident", tq::race_mode::confident},
                                                        {"halving", tq::race_mode::halving},
                                                        {"automatic", tq::race_mode::automatic}};
inline const std::map<std::string, tq::weighting> weightings{
    {"self_normalised", tq::weighting::self_normalised},
    {"plain", tq::weighting::plain},
    {"tempered", tq::weighting::tempered},
    {"clipped", tq::weighting::clipped},
    {"pareto_smoothed", tq::weighting::pareto_smoothed},
    {"unweighted", tq::weighting::unweighted}};
inline const std::map<std::string, tq::collapse_action> collapses{
    {"warn", tq::collapse_action::warn},
    {"widen", tq::collapse_action::widen},
    {"unweighted", tq::collapse_action::unweighted},
    {"refuse", tq::collapse_action::refuse}};
inline const std::map<std::string, tq::rollout_noise> noises{
    {"independent", tq::rollout_noise::independent},
    {"coupled", tq::rollout_noise::coupled},
    {"scenario", tq::rollout_noise::scenario}};

}  // namespace names
