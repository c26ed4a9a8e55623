#pragma once
// The text of an exception.

#include <exception>
#include <string>

namespace tq::test {

/// what() of the `Error` that `action` throws; "nothing was thrown" or "another type" otherwise.
template <class Error, class Action>
std::string message_of(Action&& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    } catch (...) {
        return "another type";
    }
    return "nothing was thrown";
}

inline bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace tq::test
