#pragma once
// Answers as JSON: what a server says is believed only as far as it has been checked.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "exchange.hpp"

namespace tq::http::detail {

/// An answer that cannot be used. The client adds whose it is, and may try again.
class unusable : public backend_error {
public:
    explicit unusable(const std::string& problem, bool may_pass = false)
        : backend_error{problem},
          may_pass_{may_pass} {}
    [[nodiscard]] bool may_pass() const noexcept { return may_pass_; }

private:
    bool may_pass_;
};

/// A value as it came, for a message. Never throws for text that is not UTF-8.
inline std::string shown(const nlohmann::json& value) {
    return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

/// A field of an object; nullptr if there is none.
[[nodiscard]] inline const nlohmann::json* find(const nlohmann::json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto at = object.find(name);
    return at == object.end() ? nullptr : &*at;
}

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

/// Statuses after which another try may do better; 501 and 505 say that the server never will.
inline bool status_may_pass(std::int64_t status) noexcept {
    return status == 408 || status == 425 || status == 429 ||
           (status >= 500 && status < 600 && status != 501 && status != 505);
}

/// The JSON of a good answer. Throws unusable for a status outside 200 ... 299, for what is no
/// JSON, and for an error that came with a good status.
inline nlohmann::json answer_of(const outcome& came) {
    const std::string status = "status " + std::to_string(came.status);
    if (came.status < 200 || came.status >= 300)
        throw unusable{status + ": " + came.body, status_may_pass(came.status)};
    nlohmann::json body = parse_body(came.body);
    if (body.is_discarded())
        throw unusable{"an answer that is not JSON, or nested too deep: " + came.body, true};
    if (const nlohmann::json* error = find(body, "error"); error && !error->is_null()) {
        const nlohmann::json* code = find(*error, "code");
        throw unusable{
            status + ", but an error: " + shown(*error),
            code && code->is_number_integer() && status_may_pass(code->get<std::int64_t>())};
    }
    return body;
}

/// A field of an answer. Throws unusable if it is not there or of another type.
template <class Value>
[[nodiscard]] Value field(const nlohmann::json& object, const char* name) {
    try {
        return object.at(name).get<Value>();
    } catch (const nlohmann::json::exception&) {
        throw unusable{"an answer without a usable \"" + std::string{name} +
                       "\": " + shown(object)};
    }
}

/// A number of an answer; NaN if `value` is none.
[[nodiscard]] inline double number_of(const nlohmann::json& value) {
    return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

/// Token numbers. Throws unusable for what is not a list of integers in [0, 2^31).
[[nodiscard]] inline token_list tokens_field(const nlohmann::json& object, const char* name) {
    const auto list = field<nlohmann::json::array_t>(object, name);
    token_list tokens;
    for (const nlohmann::json& token : list) {
        const bool good = token.is_number_unsigned() && token.get<std::uint64_t>() <= 0x7fff'ffffU;
        if (!good)
            throw unusable{"\"" + std::string{name} + "\" has " + shown(token) +
                           ", must be integers in [0, 2147483647]"};
        tokens.push_back(token.get<token_id>());
    }
    return tokens;
}

/// The parts of an answer, one for each of `count` things asked for and in their order, wherever
/// the server put them. Parts with an "index" go where it says.
/// Throws unusable unless there is exactly one for each.
[[nodiscard]] inline std::vector<nlohmann::json> parts_of(const nlohmann::json& answer,
                                                          const char* name, std::size_t count) {
    auto list = answer.is_array() ? answer.get<nlohmann::json::array_t>()
                                  : field<nlohmann::json::array_t>(answer, name);
    if (list.size() != count)
        throw unusable{std::to_string(list.size()) + " results for " + std::to_string(count) +
                       " requests: " + shown(answer)};
    std::vector<nlohmann::json> result(count);
    std::vector<bool> there(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::size_t place = i;
        if (const nlohmann::json* index = find(list[i], "index"); index && !index->is_null()) {
            if (!index->is_number_unsigned() || index->get<std::uint64_t>() >= count)
                throw unusable{"\"index\" is " + shown(*index) + ", must be an integer in [0, " +
                               std::to_string(count) + ")"};
            place = index->get<std::size_t>();
        }
        if (there[place]) throw unusable{"two results for request " + std::to_string(place)};
        there[place] = true;
        result[place] = std::move(list[i]);
    }
    return result;
}

}  // namespace tq::http::detail
