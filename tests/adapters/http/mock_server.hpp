#pragma once
// A server that answers JSON, in a process of its own on loopback.

#include <httplib.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "server_process.hpp"

namespace tq::test {

/// One request, as it came.
struct received {
    std::string path, authorization;
    nlohmann::json body;
};

/// Answers every POST by `answer`, in the other process: what that counts stays there. Notes what it was
/// asked. Its port is free again when it is gone.
class mock_server {
public:
    using handler = std::function<void(const received&, httplib::Response&)>;

    /// `port` 0 = any. One that comes after a `delay` is not waited for.
    explicit mock_server(handler answer, int port = 0, std::chrono::milliseconds delay = {})
        : answer_{std::move(answer)},
          log_{std::tmpfile(), &std::fclose},
          process_{[&] { serve(port, delay); }} {
        if (delay.count() == 0 && ::read(told_.out, &port, sizeof port) != sizeof port)
            throw std::runtime_error{"the server did not start"};
        port_ = port;
    }

    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::vector<received> requests() const {
        std::string text;
        char buffer[65536];
        const auto at = [&] { return static_cast<off_t>(text.size()); };
        for (ssize_t got; (got = ::pread(::fileno(log_.get()), buffer, sizeof buffer, at())) > 0;)
            text.append(buffer, static_cast<std::size_t>(got));
        std::vector<received> result;
        for (std::size_t end; (end = text.find('\n')) != std::string::npos;
             text.erase(0, end + 1)) {
            const auto line = nlohmann::json::parse(text.substr(0, end));
            result.push_back({line[0], line[1], line[2]});
        }
        return result;
    }

    /// Answers with JSON.
    static void say(httplib::Response& response, const nlohmann::json& body) {
        response.set_content(body.dump(), "application/json");
    }

private:
    struct pipe_ends {
        pipe_ends() {
            int ends[2];
            if (::pipe(ends) != 0) throw std::runtime_error{"no pipe"};
            out = ends[0];
            in = ends[1];
        }
        pipe_ends(const pipe_ends&) = delete;
        ~pipe_ends() {
            ::close(out);
            ::close(in);
        }
        int out, in;
    };

    void serve(int port, std::chrono::milliseconds delay) {
        httplib::Server server;
        server.Post(".*", [this](const httplib::Request& request, httplib::Response& response) {
            const received r{request.path, request.get_header_value("Authorization"),
                             nlohmann::json::parse(request.body)};
            const std::string line =
                nlohmann::json::array({r.path, r.authorization, r.body}).dump() + '\n';
            (void)!::write(::fileno(log_.get()), line.data(), line.size());
            answer_(r, response);
        });
        std::this_thread::sleep_for(delay);
        const int bound = port == 0 ? server.bind_to_any_port("127.0.0.1")
                                    : (server.bind_to_port("127.0.0.1", port) ? port : -1);
        (void)!::write(told_.in, &bound, sizeof bound);
        server.listen_after_bind();
    }

    handler answer_;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> log_;
    pipe_ends told_;
    int port_ = 0;
    server_process process_;
};

}  // namespace tq::test
