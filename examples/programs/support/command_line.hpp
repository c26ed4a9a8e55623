#pragma once
// Command lines whose errors are in words.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <tq/core/error.hpp>
#include <vector>

#include "names.hpp"
#include "program.hpp"

namespace command_line {

inline constexpr std::size_t largest_count = 1'000'000'000;

/// What is wrong with a whole number; empty if nothing is.
inline std::string wrong_count(const std::string& text) {
    std::size_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, problem] = std::from_chars(text.data(), end, value);
    if (problem == std::errc{} && stop == end && value <= largest_count) return {};
    return fmt::format("{}, must be a whole number in [0, {}]", text, largest_count);
}

/// The same of any whole number of 64 bits.
inline std::string wrong_seed(const std::string& text) {
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, problem] = std::from_chars(text.data(), end, value);
    if (problem == std::errc{} && stop == end) return {};
    return text + ", must be a whole number in [0, 2^64)";
}

/// The same of a number; "inf" is one.
inline std::string wrong_number(const std::string& text) {
    if (text == "inf" || text == "-inf") return {};
    char* stop = nullptr;
    const double value = std::strtod(text.c_str(), &stop);  // in the C locale, which nobody changes
    if (text.empty() || *stop != '\0' || std::isnan(value)) return text + ", must be a number";
    return std::isinf(value) ? text + ", must be a number that a double can hold" : "";
}

/// Gives every option that takes a number a check in words, before all others.
inline void check_numbers(CLI::App& app) {
    for (CLI::Option* option : app.get_options()) {
        const std::string type = option->get_type_name();
        if (type.starts_with("UINT"))
            option->transform(
                CLI::Validator{option->get_name() == "--seed" ? wrong_seed : wrong_count, ""});
        else if (type.starts_with("FLOAT"))
            option->transform(CLI::Validator{wrong_number, ""});
    }
}

/// What a word stands for.
template <class Value>
Value choice(const char* name, const std::string& word, const std::map<std::string, Value>& words) {
    const auto found = words.find(word);
    if (found != words.end()) return found->second;
    throw CLI::ValidationError{name, fmt::format("{}, must be {}{}", word, names::listed(words),
                                                 names::meant(word, names::keys(words)))};
}

/// An option whose values are words of a table.
template <class Value>
CLI::Option* add_choice(CLI::App& app, const char* name, Value& value,
                        const std::map<std::string, Value>& words, const char* help) {
    return app.add_option_function<std::string>(
        name,
        [&value, &words, name](const std::string& word) { value = choice(name, word, words); },
        help);
}

/// The long names of all options.
inline std::vector<std::string> long_names(const CLI::App& app) {
    std::vector<std::string> result;
    for (const CLI::Option* option : app.get_options())
        for (const std::string& name : option->get_lnames()) result.push_back("--" + name);
    return result;
}

/// Parses. Ends the program after --help and --version; throws invalid_option, in one line, for what is
/// wrong.
inline void parse(CLI::App& app, int argc, char** argv) {
    check_numbers(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& done) {
        app.exit(done);
        std::cout.flush();
        program::flush_output();
        std::exit(0);
    } catch (const CLI::ExtrasError& error) {
        const std::vector<std::string> extras = app.remaining();
        const std::string first =
            extras.empty() ? "" : extras.front().substr(0, extras.front().find('='));
        throw tq::invalid_option{fmt::format("unknown option or argument {}{} (see --help)", first,
                                             names::meant(first, long_names(app)))};
    } catch (const CLI::ParseError& error) {
        throw tq::invalid_option{std::string{error.what()} + " (see --help)"};
    }
}

}  // namespace command_line
