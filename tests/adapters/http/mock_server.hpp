#pragma once
// A server of this process, on loopback.

#include <httplib.h>

#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace tq::test {

/// One request, as it came.
struct received {
    std::string path, authorization;
    nlohmann::json body;
};

/// Answers every POST by `answer`; notes what it was asked. Its port is free again when it is gone.
class mock_server {
public:
    using handler = std::function<void(const received&, httplib::Response&)>;

    explicit mock_server(handler answer, int port = 0) : answer_{std::move(answer)} {
        server_.Post(".*", [this](const httplib::Request& request, httplib::Response& response) {
            received r{request.path, request.get_header_value("Authorization"),
                       nlohmann::json::parse(request.body)};
            {
                const std::lock_guard lock{mutex_};
                requests_.push_back(r);
            }
            answer_(r, response);
        });
        server_.set_keep_alive_timeout(1);
        port_ = port == 0 ? server_.bind_to_any_port("127.0.0.1")
                          : (server_.bind_to_port("127.0.0.1", port) ? port : -1);
        thread_ = std::jthread{[this] { server_.listen_after_bind(); }};
        while (!server_.is_running()) std::this_thread::yield();
        // A first request fills a static set of the library's, before requests come side by side: the
        // thread sanitiser does not see its guard in a library that was compiled without it.
        (void)httplib::Client{url()}.Get("/");
    }
    ~mock_server() { server_.stop(); }

    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
    [[nodiscard]] std::vector<received> requests() {
        const std::lock_guard lock{mutex_};
        return requests_;
    }

    /// Answers with JSON.
    static void say(httplib::Response& response, const nlohmann::json& body) {
        response.set_content(body.dump(), "application/json");
    }

private:
    handler answer_;
    httplib::Server server_;
    std::mutex mutex_;
    std::vector<received> requests_;
    int port_ = -1;
    std::jthread thread_;
};

}  // namespace tq::test
