#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "mock_server.hpp"
#include "support/catch.hpp"
#include "support/loopback_listener.hpp"
#include "support/message.hpp"
#include "tq/adapters/http/client.hpp"

using namespace std::chrono_literals;
using nlohmann::json;
using tq::backend_error;
using tq::http::client;
using tq::http::server_options;
using tq::test::contains;
using tq::test::message_of;
using tq::test::mock_server;
using tq::test::received;

namespace {

server_options quick(std::vector<std::string> urls) {
    return {.urls = std::move(urls), .response_timeout = 5s, .retries = 2, .backoff = 1ms};
}

void echo(const received& request, httplib::Response& response) {
    mock_server::say(response, {{"path", request.path}, {"asked", request.body}});
}

/// Takes connections one after the other and writes `bytes` to each, whatever is asked, then closes it
/// after `hold`.
class raw_server {
public:
    explicit raw_server(std::string bytes, std::chrono::milliseconds hold = 0ms)
        : thread_{[this, bytes = std::move(bytes), hold](std::stop_token stop) {
              for (;;) {
                  const int connection = listener_.accept();
                  if (connection < 0 || stop.stop_requested()) return;
                  char buffer[4096];
                  (void)::recv(connection, buffer, sizeof buffer, 0);
                  (void)::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
                  for (auto waited = 0ms; waited < hold && !stop.stop_requested(); waited += 10ms)
                      std::this_thread::sleep_for(10ms);
                  ::shutdown(connection, SHUT_WR);
                  (void)::recv(connection, buffer, sizeof buffer, 0);
                  ::close(connection);
              }
          }} {}
    ~raw_server() {
        thread_.request_stop();
        listener_.stop();
    }
    [[nodiscard]] const std::string& url() const { return listener_.url(); }

private:
    tq::test::loopback_listener listener_;
    std::jthread thread_;
};

}  // namespace

TEST_CASE("answers come in the order of the requests") {
    mock_server server{echo};
    client asks{quick({server.url() + "/api/"})};
    std::vector<json> bodies;
    for (int i = 0; i < 40; ++i) bodies.push_back({{"number", i}});
    const std::vector<json> answers = asks.post_all("/v1/x", bodies);
    REQUIRE(answers.size() == 40);
    for (int i = 0; i < 40; ++i) {
        CHECK(answers[static_cast<std::size_t>(i)]["asked"]["number"] == i);
        CHECK(answers[static_cast<std::size_t>(i)]["path"] == "/api/v1/x");
    }
    CHECK(asks.tries() == 40);
    CHECK(asks.post_all("/v1/x", {}).empty());
}

TEST_CASE("as many requests at a time as there are connections") {
    std::atomic<int> now{0}, most{0};
    mock_server server{[&](const received&, httplib::Response& response) {
        const int here = ++now;
        for (int seen = most; here > seen && !most.compare_exchange_weak(seen, here);) {
        }
        std::this_thread::sleep_for(30ms);
        --now;
        mock_server::say(response, json::object());
    }};
    server_options options = quick({server.url()});
    options.connections = 3;
    client asks{options};
    (void)asks.post_all("/", std::vector<json>(9, json::object()));
    CHECK(most == 3);
}

TEST_CASE("what may pass is tried again") {
    std::atomic<int> tries{0};
    const int status = GENERATE(408, 429, 500, 502, 503);
    mock_server server{[&](const received& request, httplib::Response& response) {
        if (++tries <= 2) {
            response.status = status;
            response.set_header("Retry-After", "0");
        } else {
            echo(request, response);
        }
    }};
    client asks{quick({server.url()})};
    CHECK(asks.post("/x", {{"a", 1}})["asked"]["a"] == 1);
    CHECK(tries == 3);
}

TEST_CASE("Retry-After is obeyed, up to the longest backoff") {
    std::atomic<int> tries{0};
    mock_server server{[&](const received& request, httplib::Response& response) {
        if (++tries == 1) {
            response.status = 429;
            response.set_header("Retry-After", "3600");
        } else {
            echo(request, response);
        }
    }};
    server_options options = quick({server.url()});
    options.longest_backoff = 60ms;
    client asks{options};
    const auto begin = std::chrono::steady_clock::now();
    (void)asks.post("/x", json::object());
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took >= 60ms);
    CHECK(took < 30s);
}

TEST_CASE("what cannot pass is an error at once, with the server's own words") {
    mock_server server{[](const received&, httplib::Response& response) {
        response.status = 400;
        response.set_content("max_tokens must be\npositive", "text/plain");
    }};
    client asks{quick({server.url()})};
    try {
        (void)asks.post("/v1/completions", json::object());
        FAIL("nothing was thrown");
    } catch (const backend_error& error) {
        CHECK(error.code() == 400);
        CHECK(error.what() ==
              server.url() + "/v1/completions: status 400: max_tokens must be positive (1 try)");
    }
    CHECK(server.requests().size() == 1);
}

TEST_CASE("servers that fail for good are one error") {
    const auto fails = [](const std::string& url, const std::string& part) {
        client asks{quick({url})};
        const std::string message =
            message_of<backend_error>([&] { (void)asks.post("/x", json::object()); });
        INFO(message);
        CHECK(contains(message, url + "/x: "));
        CHECK(contains(message, part));
        CHECK(contains(message, "(3 tries)"));
    };
    SECTION("nobody there") { fails("http://127.0.0.1:9", "no connection"); }
    SECTION("no JSON") {
        mock_server server{[](const received&, httplib::Response& response) {
            response.set_content("<html>", "text/html");
        }};
        fails(server.url(), "an answer that is not JSON, or nested too deep: <html>");
    }
    SECTION("lists in lists without end") {
        constexpr std::size_t depth = 1'000'000;
        mock_server server{[](const received&, httplib::Response& response) {
            response.set_content(
                "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}",
                "application/json");
        }};
        fails(server.url(), "nested too deep: {\"a\":[[[");
    }
    SECTION("closed without an answer") {
        raw_server server{""};
        fails(server.url(), "the connection was closed before the answer");
    }
    SECTION("closed in the middle") {
        raw_server server{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":"};
        fails(server.url(), "the connection was closed before the answer");
    }
    SECTION("not HTTP") {
        raw_server server{"\x01\x02 what?\n\n"};
        fails(server.url(), "the connection was closed before the answer");
    }
}

TEST_CASE("a server that hangs is given up") {
    raw_server server{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", 3s};
    server_options options = quick({server.url()});
    options.response_timeout = 100ms;
    options.retries = 1;
    client asks{options};
    const std::string message =
        message_of<backend_error>([&] { (void)asks.post("/x", json::object()); });
    CHECK(message == server.url() + "/x: no answer in 100 ms (2 tries)");
}

TEST_CASE("a response that is too long is refused") {
    mock_server server{[](const received&, httplib::Response& response) {
        response.set_content('"' + std::string(5000, 'x') + '"', "application/json");
    }};
    server_options options = quick({server.url()});
    options.max_response = 1000;
    client asks{options};
    CHECK(contains(message_of<backend_error>([&] { (void)asks.post("/x", json::object()); }),
                   "a response of more than 1000 bytes (1 try)"));
}

TEST_CASE("redirects are not followed") {
    mock_server elsewhere{echo};
    mock_server server{[&](const received&, httplib::Response& response) {
        response.set_redirect(elsewhere.url() + "/x", 307);
    }};
    client asks{quick({server.url()})};
    CHECK(contains(message_of<backend_error>([&] { (void)asks.post("/x", json::object()); }),
                   "status 307"));
    CHECK(elsewhere.requests().empty());
}

TEST_CASE("the key comes from the environment and is never shown") {
    ::setenv("TQ_TEST_KEY", "sk-very-secret", 1);
    mock_server server{[](const received& request, httplib::Response& response) {
        response.status = 401;
        response.set_content("wrong key " + request.authorization, "text/plain");
    }};
    server_options options = quick({server.url()});
    options.key_variable = "TQ_TEST_KEY";
    client asks{options};
    const std::string message =
        message_of<backend_error>([&] { (void)asks.post("/x", json::object()); });
    CHECK(contains(message, "wrong key Bearer ***"));
    CHECK_FALSE(contains(message, "secret"));
    CHECK(server.requests().front().authorization == "Bearer sk-very-secret");

    options.key_variable = "TQ_NO_SUCH_VARIABLE";
    CHECK(contains(message_of<tq::invalid_option>([&] { client{options}; }),
                   "key_variable = TQ_NO_SUCH_VARIABLE, must be an environment variable"));
    ::setenv("TQ_TEST_KEY", "two\r\nlines", 1);
    options.key_variable = "TQ_TEST_KEY";
    CHECK(contains(message_of<tq::invalid_option>([&] { client{options}; }), "a single line"));
}

TEST_CASE("a fleet takes turns, and one that is down is passed over") {
    mock_server first{echo}, second{echo};
    SECTION("turns") {
        client asks{quick({first.url(), second.url()})};
        (void)asks.post_all("/x", std::vector<json>(10, json::object()));
        CHECK(first.requests().size() == 5);
        CHECK(second.requests().size() == 5);
        (void)asks.post("/x", json::object());
        (void)asks.post("/x", json::object());
        CHECK(first.requests().size() == 6);
        CHECK(second.requests().size() == 6);
    }
    SECTION("one down") {
        client asks{quick({"http://127.0.0.1:9", second.url()})};
        const auto answers = asks.post_all("/x", std::vector<json>(10, json::object()));
        CHECK(answers.size() == 10);
        CHECK(second.requests().size() == 10);
    }
}

TEST_CASE("options out of range") {
    const auto refused = [](server_options options, const std::string& part) {
        const std::string message = message_of<tq::invalid_option>([&] { client{options}; });
        INFO(message);
        CHECK(contains(message, part));
    };
    refused({.urls = {}}, "urls = none, must be one or more");
    for (const char* url : {"", "localhost:80", "ftp://x", "http://", "http://user:pw@host",
                            "http://a b", "http:///x", "http://x\r\ny"})
        refused({.urls = {url}}, "must be \"http://host:port\"");
    CHECK_FALSE(contains(
        message_of<tq::invalid_option>([] { client{{.urls = {"http://user:pw@host"}}}; }), "pw"));
    refused({.urls = {"http://x"}, .connections = 0}, "connections = 0, must be in [1, 1024]");
    refused({.urls = {"http://x"}, .connect_timeout = 0ms}, "connect_timeout = 0, must be > 0 ms");
    refused({.urls = {"http://x"}, .max_response = 0}, "max_response = 0");
}
