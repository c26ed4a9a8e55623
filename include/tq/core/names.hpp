#pragma once
// One word for each value of an enum: errors, JSON and command lines read the same table.

#include <concepts>
#include <optional>
#include <string_view>
#include <type_traits>

#include "../config.hpp"

namespace tq {

/// A value of an enum and its word.
template <class Enum>
struct named {
    Enum value;             ///< the value
    std::string_view name;  ///< its word
};

/// An enum with words: beside it stands `names_of(Enum)`, which returns an array of named<Enum>.
template <class Enum>
concept named_enum = std::is_enum_v<Enum> && requires(Enum value) { names_of(value); };

/// The word for a value; "?" for a number that is no value.
template <named_enum Enum>
[[nodiscard]] constexpr std::string_view to_string(Enum value) noexcept {
    for (const auto& [known, name] : names_of(value))
        if (known == value) return name;
    return "?";
}

/// The value that a word stands for, if it does.
template <named_enum Enum>
[[nodiscard]] constexpr std::optional<Enum> from_string(std::string_view word) noexcept {
    for (const auto& [known, name] : names_of(Enum{}))
        if (name == word) return known;
    return std::nullopt;
}

}  // namespace tq
