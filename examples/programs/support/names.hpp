#pragma once
// The library's words for its choices, as the options and configurations of the programs take them.

#include <algorithm>
#include <initializer_list>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

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

/// Letters to add, remove or replace on the way from one word to the other.
inline std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

/// "; did you mean X?" for the known word that is close to one; empty if none is.
inline std::string meant(std::string_view word, const std::vector<std::string>& known) {
    const auto far = [&](const std::string& k) { return distance(word.substr(0, 64), k); };
    const auto best = std::ranges::min_element(known, {}, far);
    const std::size_t close = word.size() < 4 ? 1 : std::max<std::size_t>(2, word.size() / 3);
    if (best == known.end() || far(*best) > close) return "";
    return "; did you mean " + *best + "?";
}

/// The words of a table, in its order: "a, b or c".
template <class Value>
std::string listed(const std::map<std::string, Value>& table) {
    std::string text;
    std::size_t left = table.size();
    for (const auto& [word, value] : table)
        text += word + (--left > 1 ? ", " : left == 1 ? " or " : "");
    return text;
}

template <class Value>
std::vector<std::string> keys(const std::map<std::string, Value>& table) {
    std::vector<std::string> result;
    for (const auto& [word, value] : table) result.push_back(word);
    return result;
}

}  // namespace names
