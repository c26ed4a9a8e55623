#pragma once
// SIGINT and SIGTERM as an exception at a place where nothing is lost.

#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string_view>

namespace interrupt {

/// Thrown by check(): the user, or the system, wants the program to end.
class stopped : public std::runtime_error {
public:
    explicit stopped(int signal)
        : std::runtime_error{signal == SIGINT ? "interrupted" : "terminated"},
          signal_{signal} {}
    /// What a shell expects of a program that a signal has ended: 130 or 143.
    [[nodiscard]] int exit_code() const noexcept { return 128 + signal_; }

private:
    int signal_;
};

namespace detail {
inline volatile std::sig_atomic_t caught = 0;
}

/// As long as it lives the two signals are only noted; the second one ends the program at once.
class noted_signals {
public:
    noted_signals() {
        for (const int signal : {SIGINT, SIGTERM})
            std::signal(signal, [](int number) {
                detail::caught = number;
                restore();
                constexpr std::string_view text =
                    "\nstopping when the model's present call is done; a second signal ends it at "
                    "once\n";
                if (::write(STDERR_FILENO, text.data(), text.size()) < 0) return;
            });
    }
    noted_signals(const noted_signals&) = delete;
    noted_signals& operator=(const noted_signals&) = delete;
    ~noted_signals() { restore(); }

private:
    static void restore() {
        std::signal(SIGINT, SIG_DFL);
        std::signal(SIGTERM, SIG_DFL);
    }
};

/// Throws `stopped` if one of them has come. Called between calls of models, and between steps.
inline void check() {
    if (detail::caught != 0) throw stopped{detail::caught};
}

}  // namespace interrupt
