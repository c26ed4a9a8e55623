#pragma once
// Servers of the tests, each in a process of its own: what a server's library does to its process (signals
// that it ignores, say) must not shield the program that is tested.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "support/loopback_listener.hpp"

namespace tq::test {

/// Runs `serve` in a process that is killed when this is gone.
class server_process {
public:
    explicit server_process(const std::function<void()>& serve) : process_{::fork()} {
        if (process_ < 0) throw std::runtime_error{"fork failed"};
        if (process_ > 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
            serve();
        } catch (...) {
        }
        ::_exit(1);
    }
    server_process(const server_process&) = delete;
    server_process& operator=(const server_process&) = delete;
    ~server_process() {
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
    }

private:
    pid_t process_;
};

/// A server that does as it likes with every connection, one after the other.
class raw_server {
public:
    explicit raw_server(std::function<void(int connection)> serve)
        : process_{[this, serve = std::move(serve)] {
              for (;;) {
                  const int connection = listener_.accept();
                  serve(connection);
                  ::close(connection);
              }
          }} {}
    /// Reads a request, writes `bytes` and closes the connection.
    explicit raw_server(std::string bytes)
        : raw_server{[bytes = std::move(bytes)](int connection) {
              (void)read_request(connection);
              say(connection, bytes);
          }} {}
    [[nodiscard]] const std::string& url() const { return listener_.url(); }

    /// False once the other side is gone.
    static bool say(int connection, std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
        return true;
    }

private:
    loopback_listener listener_;
    server_process process_;
};

}  // namespace tq::test
