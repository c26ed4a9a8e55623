#pragma once
// Reading files that nobody vouches for: length and nesting are limited before memory or stack is spent.

#include <fmt/format.h>

#include <istream>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/core/error.hpp>
#include <utility>

namespace untrusted {

inline constexpr std::size_t longest_line = std::size_t{64} << 20;  // bytes
inline constexpr int deepest = 64;  // arrays and objects within each other

/// std::getline, but a file that cannot be read or a line that is too long is an invalid_option which
/// begins with `where`.
inline bool read_line(std::istream& stream, std::string& line, const std::string& where) {
    line.clear();
    for (char c; stream.get(c);) {
        if (c == '\n') return true;
        if (line.size() == longest_line)
            throw tq::invalid_option{
                fmt::format("{}: a line of more than {} MiB", where, longest_line >> 20)};
        line.push_back(c);
    }
    if (stream.bad()) throw tq::invalid_option{where + ": cannot be read"};
    if (!line.empty()) stream.clear(std::ios::eofbit);
    return !line.empty();
}

/// JSON from a string or a stream; discarded if it is none or nested too deep, since copying and printing
/// recurse.
template <class Input>
nlohmann::json parse_json(Input&& input, bool comments = false) {
    bool fits = true;
    nlohmann::json value = nlohmann::json::parse(
        std::forward<Input>(input),
        [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
            fits = fits && depth <= deepest;
            return fits;
        },
        false, comments);
    return fits ? value : nlohmann::json(nlohmann::json::value_t::discarded);
}

/// A line of a file of prompts: the prompt itself, or a JSON object with it. Throws invalid_option which
/// begins with `where`.
inline std::string prompt_of(const std::string& line, const std::string& where) {
    if (!line.starts_with('{')) return line;
    const nlohmann::json json = parse_json(line);
    if (!json.is_object() || !json.contains("prompt") || !json["prompt"].is_string())
        throw tq::invalid_option{where + ": must be a JSON object with a string \"prompt\""};
    return json["prompt"];
}

}  // namespace untrusted
