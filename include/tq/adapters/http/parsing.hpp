#pragma once
// Answers as JSON: what a server says is believed only as far as it has been checked.

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/error.hpp"

namespace tq::http::detail {

/// A body as JSON; discarded if it is none, or nested deeper than any honest answer: to copy a
/// value costs stack for each level.
inline nlohmann::json parse_body(const std::string& text) {
    constexpr int deepest = 64;
    bool fits = true;
    const auto shallow = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        return fits = fits && depth <= deepest;
    };
    nlohmann::json body = nlohmann::json::parse(text, shallow, false);
    return fits ? body : nlohmann::json(nlohmann::json::value_t::discarded);
}

/// A field of an answer. Throws backend_error, which begins with `where`, if it is not there or of
/// another type.
template <class Value>
[[nodiscard]] Value field(const nlohmann::json& object, const char* name, std::string_view where) {
    try {
        return object.at(name).get<Value>();
    } catch (const nlohmann::json::exception& error) {
        throw backend_error{std::string{where} + ": an answer without a usable \"" + name +
                            "\": " + error.what()};
    }
}

/// The parts of an answer, one for each of `count` things asked for and in their order, wherever
/// the server put them. Parts with an "index" go where it says.
/// Throws backend_error, which begins with `where`, unless there is exactly one for each.
[[nodiscard]] inline std::vector<nlohmann::json> parts_of(nlohmann::json answer, const char* name,
                                                          std::size_t count,
                                                          std::string_view where) {
    auto list = answer.is_array() ? std::move(answer) : field<nlohmann::json>(answer, name, where);
    if (!list.is_array() || list.size() != count)
        throw backend_error{std::string{where} + ": " + std::to_string(list.size()) +
                            " results for " + std::to_string(count) + " requests"};
    std::vector<nlohmann::json> result(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::size_t place = i;
        if (list[i].is_object() && list[i].contains("index"))
            place = field<std::size_t>(list[i], "index", where);
        if (place >= count || !result[place].is_null())
            throw backend_error{std::string{where} + ": two results for one request"};
        result[place] = std::move(list[i]);
    }
    return result;
}

}  // namespace tq::http::detail
