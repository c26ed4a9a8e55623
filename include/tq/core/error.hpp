#pragma once
// Errors. Three regimes:
//   set-up and options   throw invalid_option, naming the field, the value and the allowed range
//   a model or reward    throws backend_error, carrying the engine's own code
//   kernels              are noexcept, with a defined result for every float

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "../config.hpp"
#include "names.hpp"

namespace tq {

/// An option or argument outside its range. `what()` reads "where: field = value, must be range".
class invalid_option : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// A model, reward or server that failed or answered nonsense. `code()` is its own number, or 0.
class backend_error : public std::runtime_error {
public:
    /// code: the engine's own number (of HTTP, llama.cpp ...), or 0.
    explicit backend_error(const std::string& message, int code = 0)
        : std::runtime_error{message},
          code_{code} {}
    [[nodiscard]] int code() const noexcept { return code_; }

private:
    int code_;
};

/// Throws invalid_option unless `ok`: check_option(x > 0, "decoder", "alpha", x, "in (0, inf]").
/// Enums that have words are named by them.
template <class Value>
void check_option(bool ok, std::string_view where, std::string_view field, const Value& value,
                  std::string_view range) {
    if (ok) return;
    std::ostringstream text;
    text << where << ": " << field << " = ";
    if constexpr (named_enum<Value>)
        text << word_of(value);
    else
        text << value;
    text << ", must be " << range;
    throw invalid_option{text.str()};
}

}  // namespace tq
