#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "mock_server.hpp"
#include "server_process.hpp"
#include "support/catch.hpp"
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
using tq::test::raw_server;
using tq::test::received;

namespace {

server_options quick(std::vector<std::string> urls) {
    // Debian's cpp-httplib lets no more than five wait for it.
    return {.urls = std::move(urls),
            .connections = 4,
            .response_timeout = 5s,
            .retries = 2,
            .backoff = 1ms};
}

void echo(const received& request, httplib::Response& response) {
    mock_server::say(response, {{"path", request.path}, {"asked", request.body}});
}

/// What `action` throws, and that it took less than `limit`.
template <class Action>
std::string quickly(std::chrono::milliseconds limit, Action&& action) {
    const auto begin = std::chrono::steady_clock::now();
    const std::string message = message_of<backend_error>(action);
    CHECK(std::chrono::steady_clock::now() - begin < limit);
    return message;
}

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
    std::atomic<int> now{0};
    mock_server server{[&](const received&, httplib::Response& response) {
        const int here = ++now;
        std::this_thread::sleep_for(30ms);
        --now;
        mock_server::say(response, {{"together", here}});
    }};
    server_options options = quick({server.url()});
    options.connections = 3;
    client asks{options};
    int most = 0;
    for (const json& answer : asks.post_all("/", std::vector<json>(9, json::object())))
        most = std::max(most, answer["together"].get<int>());
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
    CHECK(server.requests().size() == 3);
    CHECK(asks.tries() == 3);
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
        fails(server.url(), "an answer that is not HTTP");
    }
    SECTION("a broken chunk") {
        raw_server server{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"};
        fails(server.url(), "the connection was closed before the answer");
    }
}

TEST_CASE("no part of a response may take longer than the whole") {
    const std::string begin = GENERATE(
        std::string{}, "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
        "0\r\n");
    const bool silent = GENERATE(true, false);
    const std::string drip = silent || begin.empty() ? ""
                             : begin.ends_with('\n') ? "X: y\r\n"
                                                     : " ";
    raw_server server{[&](int connection) {
        (void)tq::test::read_request(connection);
        char nothing;
        for (bool there = raw_server::say(connection, begin); there;) {
            std::this_thread::sleep_for(30ms);
            there = raw_server::say(connection, drip) &&
                    ::recv(connection, &nothing, 1, MSG_DONTWAIT) != 0;
        }
    }};
    server_options options = quick({server.url()});
    options.response_timeout = 100ms;
    options.retries = 1;
    client asks{options};
    CHECK(quickly(4s, [&] { (void)asks.post("/x", json::object()); }) ==
          server.url() + "/x: no answer in 100 ms (2 tries)");
}

TEST_CASE("headers are bounded, whatever they are made of") {
    const auto [begin, more] = GENERATE(table<std::string, std::string>(
        {{"HTTP/1.1 200 ", std::string(1000, 'A')},
         {"HTTP/1.1 200 OK\r\nX: ", std::string(1000, 'A')},
         {"HTTP/1.1 200 OK\r\n", "X: " + std::string(1000, 'A') + "\r\n"},
         {"", "HTTP/1.1 100 Continue\r\n\r\n"},
         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
          "X: " + std::string(1000, 'A') + "\r\n"}}));
    raw_server server{[begin = begin, more = more](int connection) {
        (void)tq::test::read_request(connection);
        for (bool there = raw_server::say(connection, begin); there;)
            there = raw_server::say(connection, more);
    }};
    client asks{quick({server.url()})};
    CHECK(quickly(4s, [&] { (void)asks.post("/x", json::object()); }) ==
          server.url() + "/x: headers of more than 65536 bytes (1 try)");
}

TEST_CASE("a reason of any length is read over, and so are interim answers") {
    const std::string before =
        GENERATE(std::string{"HTTP/1.1 200 OK"}, "HTTP/1.1 200 " + std::string(30'000, 'A'),
                 "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK",
                 "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK", "HTTP/1.0 200 OK");
    raw_server server{before + "\r\nContent-Length: 7\r\n\r\n{\"a\":1}"};
    client asks{quick({server.url()})};
    CHECK(asks.post("/x", json::object())["a"] == 1);
}

TEST_CASE("an answer that nobody asked for is not the next one's") {
    const auto late = GENERATE(0ms, 20ms);
    raw_server server{[&](int connection) {
        for (std::string request; !(request = tq::test::read_request(connection)).empty();) {
            const json number = json::parse(request.substr(request.find('{')))["i"];
            const auto answer = [&](const json& i) {
                const std::string body = json{{"i", i}}.dump();
                (void)raw_server::say(connection, "HTTP/1.1 200 OK\r\nContent-Length: " +
                                                      std::to_string(body.size()) + "\r\n\r\n" +
                                                      body);
            };
            answer(number);
            std::this_thread::sleep_for(late);
            answer(1000 + number.get<int>());
        }
    }};
    client asks{quick({server.url()})};
    for (int i = 0; i < 10; ++i) CHECK(asks.post("/x", {{"i", i}})["i"] == i);
}

TEST_CASE("a server that goes away does not end the program") {
    // Answers before it has read the request, whose rest then meets a closed connection.
    raw_server early{[](int connection) {
        (void)raw_server::say(connection, "HTTP/1.1 401 X\r\nContent-Length: 2\r\n\r\n{}");
    }};
    const json large{{"prompt", std::string(std::size_t{4} << 20, 'x')}};
    client asks{quick({early.url()})};
    for (int i = 0; i < 5; ++i) {
        const std::string message =
            message_of<backend_error>([&] { (void)asks.post("/x", large); });
        INFO(message);
        CHECK((contains(message, "status 401") || contains(message, "closed before the answer")));
    }
}

TEST_CASE("SIGPIPE is kept from a request, and left as it was after it") {
    const auto write_to_nobody = [] {
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        ::close(ends[0]);
        CHECK(::write(ends[1], "x", 1) < 0);
        ::close(ends[1]);
    };
    const auto state = [](auto read) {
        sigset_t set;
        read(&set);
        return ::sigismember(&set, SIGPIPE) == 1;
    };
    const auto blocked = [](sigset_t* set) { ::pthread_sigmask(SIG_BLOCK, nullptr, set); };
    REQUIRE_FALSE(state(blocked));
    {
        const tq::http::detail::no_sigpipe quiet;
        CHECK(state(blocked));
        write_to_nobody();
    }
    CHECK_FALSE(state(blocked));
    CHECK_FALSE(state(&::sigpending));
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

TEST_CASE("what a server can never do is not asked again, and errors may come with status 200") {
    const auto [status, words, tries] = GENERATE(table<int, std::string, int>(
        {{501, "status 501: {\"error\":{\"message\":\"start it with --reranking\"}}", 1},
         {200, "status 200, but an error: {\"message\":\"start it with --reranking\"}", 1},
         {200, "status 200, but an error: {\"code\":429,\"message\":\"overloaded\"}", 3}}));
    mock_server server{
        [status = status, tries = tries](const received&, httplib::Response& response) {
            response.status = status;
            json error{{"message", tries == 1 ? "start it with --reranking" : "overloaded"}};
            if (tries > 1) error["code"] = 429;
            mock_server::say(response, {{"error", error}});
        }};
    client asks{quick({server.url()})};
    CHECK(message_of<backend_error>([&] { (void)asks.post("/x", json::object()); }) ==
          server.url() + "/x: " + words + " (" + std::to_string(tries) +
              (tries == 1 ? " try)" : " tries)"));
}

TEST_CASE("a server's words are text, whatever they are") {
    mock_server server{[](const received&, httplib::Response& response) {
        response.status = 400;
        response.set_content("a\xff\x1b[2J\xc3\xa4" + std::string(1000, 'x') + "\xc3",
                             "text/plain");
    }};
    client asks{quick({server.url()})};
    const std::string message =
        message_of<backend_error>([&] { (void)asks.post("/x", json::object()); });
    CHECK(contains(message, "status 400: a\xef\xbf\xbd [2J\xc3\xa4xxx"));
    CHECK(message.size() < 600);
    CHECK_NOTHROW((void)json(message).dump());
}

TEST_CASE("the first problem of several is told, too") {
    std::atomic<int> tries{0};
    mock_server server{[&](const received&, httplib::Response& response) {
        response.status = ++tries == 1 ? 500 : 503;
        response.set_content(tries == 1 ? "the engine died" : "nobody home", "text/plain");
    }};
    client asks{quick({server.url()})};
    CHECK(message_of<backend_error>([&] { (void)asks.post("/x", json::object()); }) ==
          server.url() +
              "/x: status 503: nobody home (3 tries; the first: status 500: the engine died)");
}

TEST_CASE("an error ends the requests that are under way") {
    mock_server server{[](const received& request, httplib::Response& response) {
        if (request.body["i"] == 0) {
            response.status = 400;
            return;
        }
        std::this_thread::sleep_for(20s);
    }};
    client asks{quick({server.url()})};
    const std::vector<json> bodies{{{"i", 1}}, {{"i", 0}}};
    CHECK(contains(quickly(4s, [&] { (void)asks.post_all("/x", bodies); }), "status 400"));
}

TEST_CASE("a URL that ends in /v1 is the same server, and no time-out is too long") {
    mock_server server{echo};
    server_options options = quick({server.url() + GENERATE("/v1", "/v1/", "/", "")});
    options.response_timeout = options.connect_timeout = std::chrono::milliseconds::max();
    client asks{options};
    CHECK(asks.post("/v1/completions", json::object())["path"] == "/v1/completions");
    CHECK(asks.post("/tokenize", json::object())["path"] == "/tokenize");
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

    ::setenv("TQ_TEST_KEY", "*", 1);  // what it is replaced by holds it
    CHECK(contains(
        message_of<backend_error>([&] { (void)client{options}.post("/x", json::object()); }),
        "wrong key Bearer *** (1 try)"));

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
    for (const char* url :
         {"", "localhost:80", "ftp://x", "http://", "http://user:pw@host", "http://a b",
          "http:///x", "http://x\r\ny", "http://x:99999", "http://x:99999999999", "http://x:0",
          "http://x:abc", "http://x/v1?key=secret", "http://x#y"})
        refused({.urls = {"http://x", url}},
                "urls[1] = one that cannot be used, must be \"http://host:port");
    for (const char* url : {"http://user:secret@host", "http://host/v1?key=secret"})
        CHECK_FALSE(
            contains(message_of<tq::invalid_option>([&] { client{{.urls = {url}}}; }), "secret"));
    refused({.urls = {"http://x"}, .connections = 0}, "connections = 0, must be in [1, 1024]");
    refused({.urls = {"http://x"}, .connect_timeout = 0ms}, "connect_timeout = 0, must be > 0 ms");
    refused({.urls = {"http://x"}, .longest_backoff = -5ms},
            "longest_backoff = -5, must be in [0, 86400000] ms");
    refused({.urls = {"http://x"}, .max_response = 0}, "max_response = 0");
}
