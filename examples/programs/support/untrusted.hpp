#pragma once
// Reading files that nobody vouches for: length and nesting are limited before memory or stack is spent.

#include <fmt/format.h>

#include <algorithm>
#include <istream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <tq/core/error.hpp>
#include <utility>
#include <vector>

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

/// What a stream has, up to so many bytes; `whole` says whether that is all. Throws invalid_option, which
/// begins with `where`, if it cannot be read.
inline std::string read_up_to(std::istream& stream, std::size_t most, bool& whole,
                              const std::string& where) {
    std::string text, block(std::size_t{1} << 16, '\0');
    while (text.size() < most && stream) {
        stream.read(block.data(),
                    static_cast<std::streamsize>(std::min(block.size(), most - text.size())));
        text.append(block, 0, static_cast<std::size_t>(stream.gcount()));
    }
    if (stream.bad()) throw tq::invalid_option{where + ": cannot be read"};
    whole = !stream;
    return text;
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

/// "line:column" of the byte `at`, from 1.
inline std::string place_of(std::string_view text, std::size_t at) {
    const std::string_view before = text.substr(0, at);
    const std::size_t line_start = before.rfind('\n') + 1;  // 0 if there is none
    return fmt::format("{}:{}", 1 + std::ranges::count(before, '\n'), at - line_start + 1);
}

/// The JSON value in the bytes [begin, end) of `text`. Throws invalid_option with name:line:column and
/// what is wrong there; a key that an object has twice counts as wrong.
inline nlohmann::json parse_or_refuse(std::string_view text, std::size_t begin, std::size_t end,
                                      const std::string& name, bool comments = false) {
    using event = nlohmann::json::parse_event_t;
    const std::string_view part = text.substr(begin, end - begin);
    const auto refuse = [&](std::size_t at, std::string why) {
        if (why.size() > 300) why.resize(300);  // it may quote all of the text
        throw tq::invalid_option{fmt::format("{}:{}: {}", name, place_of(text, begin + at), why)};
    };
    bool fits = true;
    std::string twice;
    std::vector<std::set<std::string>> keys;
    const auto watch = [&](int depth, event e, nlohmann::json& parsed) {
        fits = fits && depth <= deepest;
        if (!fits) return false;
        if (e == event::object_start) keys.emplace_back();
        if (e == event::object_end) keys.pop_back();
        if (e == event::key && !keys.back().insert(parsed.get<std::string>()).second)
            twice = parsed.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        return true;
    };
    try {
        nlohmann::json value =
            nlohmann::json::parse(part.begin(), part.end(), watch, true, comments);
        if (!fits) refuse(0, fmt::format("JSON that is nested too deep, more than {}", deepest));
        if (!twice.empty()) refuse(0, fmt::format("an object has the key {} twice", twice));
        return value;
    } catch (const nlohmann::json::parse_error& error) {
        const std::string what = error.what();
        const auto column = what.find(", column "), reason = what.find(": ", column);
        refuse(std::min(error.byte > 0 ? error.byte - 1 : 0, part.size()),
               "not JSON: " + (reason == what.npos ? what : what.substr(reason + 2)));
    } catch (const nlohmann::json::out_of_range& error) {  // "...number overflow parsing '1e400'"
        const std::string what = error.what();
        const auto quote = what.find('\'');
        const std::string number = what.substr(quote + 1, what.size() - quote - 2);
        const auto at = part.find(number);
        refuse(at == part.npos ? 0 : at, fmt::format("the number {} is too large", number));
    }
    return {};
}

}  // namespace untrusted
