#pragma once
// The library's words for its choices, as the options and configurations of the programs take them.

#include <initializer_list>
#include <map>
#include <string>

#include <tq/core/names.hpp>
#include <tq/decode/options.hpp>
#include <tq/estimate/normalise.hpp>

namespace names {

template <tq::named_enum Enum>
[[nodiscard]] std::map<std::string, Enum> words(std::initializer_list<Enum> except = {}) {
    std::map<std::string, Enum> result;
    for (const auto& [value, name] : names_of(Enum{})) result.emplace(name, value);
    for (const Enum value : except) result.erase(to_string(value));
    return result;
}

inline const auto selections = words<tq::selection>();
inline const auto races = words<tq::race_mode>();
// The authors' program is replayed with two rewards, which the programs do not take.
inline const auto weightings = words<tq::weighting>({tq::weighting::reference});
inline const auto collapses = words<tq::collapse_action>();

}  // namespace names
