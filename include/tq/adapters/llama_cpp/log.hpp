#pragma once
// llama.cpp's log: silent unless asked for, and mined for the reasons of failures.
//
// llama.cpp has one log callback per process. tq takes it over when the first model is loaded. A
// program may take it back with llama_log_set; error messages of tq then lack llama.cpp's reason.

#include <llama.h>

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "../../config.hpp"

namespace tq::llama_cpp {

/// Receives llama.cpp's log, piece by piece (not always whole lines), from whichever thread logs.
using log_callback = std::function<void(std::string_view text)>;

namespace detail {

struct log_state {
    std::mutex mutex;
    log_callback callback;
};

inline log_state& shared_log() {
    static log_state state;
    return state;
}

/// The first error that this thread has logged since it was cleared: later lines only repeat that
/// something failed, the first says why.
inline std::string& first_error() {
    thread_local std::string text;
    return text;
}

/// Called from C: no exception may leave.
inline void on_log(ggml_log_level level, const char* text, void*) noexcept {
    try {
        std::string_view line{text};
        if (level == GGML_LOG_LEVEL_ERROR && first_error().empty()) {
            while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
            first_error() = line;
        }
        if (level == GGML_LOG_LEVEL_DEBUG) return;
        log_state& log = shared_log();
        const std::lock_guard lock{log.mutex};
        if (log.callback) log.callback(text);
    } catch (...) {
    }
}

/// Starts llama.cpp once per process.
inline void start_backend() {
    static std::once_flag once;
    std::call_once(once, [] {
        llama_log_set(on_log, nullptr);
        llama_backend_init();
    });
}

/// ": <reason>" if llama.cpp has logged one since first_error() was cleared, else "".
inline std::string reason() { return first_error().empty() ? std::string{} : ": " + first_error(); }

}  // namespace detail

/// Shows llama.cpp's log to `callback`; an empty one silences it, which is the default.
inline void set_log(log_callback callback) {
    detail::start_backend();
    detail::log_state& log = detail::shared_log();
    const std::lock_guard lock{log.mutex};
    log.callback = std::move(callback);
}

}  // namespace tq::llama_cpp
