#pragma once
// A socket that listens on loopback, for servers that do what no server should.

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <stdexcept>
#include <string>

namespace tq::test {

/// Listens on a port of its own until it is gone.
class loopback_listener {
public:
    loopback_listener() : socket_{::socket(AF_INET, SOCK_STREAM, 0)} {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* generic = reinterpret_cast<sockaddr*>(&address);
        if (::bind(socket_, generic, size) != 0 || ::listen(socket_, 8) != 0 ||
            ::getsockname(socket_, generic, &size) != 0)
            throw std::runtime_error{"no port on loopback"};
        url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    }
    loopback_listener(const loopback_listener&) = delete;
    loopback_listener& operator=(const loopback_listener&) = delete;
    ~loopback_listener() { ::close(socket_); }

    [[nodiscard]] const std::string& url() const { return url_; }
    /// The next connection; negative after stop().
    [[nodiscard]] int accept() const { return ::accept(socket_, nullptr, nullptr); }
    /// Ends an accept() of another thread.
    void stop() const { ::shutdown(socket_, SHUT_RDWR); }

private:
    int socket_;
    std::string url_;
};

/// A request of tq's, up to the '}' of its JSON, or what came of it.
inline std::string read_request(int connection) {
    std::string request;
    char buffer[65536];
    while (!request.ends_with('}')) {
        const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
        if (got <= 0) break;
        request.append(buffer, static_cast<std::size_t>(got));
    }
    return request;
}

}  // namespace tq::test
