#pragma once
// What a program does with its streams and its errors.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <tq/core/error.hpp>

#include "interrupt.hpp"
#include "utf8.hpp"

namespace program {

/// A line on standard error. It is lost if that cannot be written to.
inline void say(const std::string& text) {
    const std::string line = utf8::shown(text) + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
}

/// Throws backend_error unless all that was printed has been written.
inline void flush_output() {
    errno = 0;
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw tq::backend_error{std::string{"standard output cannot be written to: "} +
                                std::strerror(errno == 0 ? EIO : errno)};
}

/// Opens on nothing what the caller has closed of the three streams, so that no file gets their numbers.
/// What is printed to a closed standard output is an error.
inline void open_streams() {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF &&
            ::open("/dev/null", stream == STDERR_FILENO ? O_WRONLY : O_RDONLY) != stream)
            return;
}

/// Runs a program's body. Its exit code: 0; 1 for what failed; 2 for what was asked wrongly; 130 or 143
/// after a signal, of which `after_signal` ends the line.
template <class Body>
int run(const std::string& name, const char* after_signal, Body body) {
    open_streams();
    try {
        body();
        flush_output();
        return 0;
    } catch (const interrupt::stopped& stopped) {
        say(fmt::format("{}: {}{}", name, stopped.what(), after_signal));
        return stopped.exit_code();
    } catch (const tq::invalid_option& error) {
        say(fmt::format("{}: {}", name, error.what()));
        return 2;
    } catch (const std::exception& error) {
        say(fmt::format("{}: {}", name, error.what()));
        return 1;
    }
}

}  // namespace program
