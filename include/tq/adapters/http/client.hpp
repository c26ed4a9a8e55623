#pragma once
// client: JSON to servers and back, many requests at a time, with patience.

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "options.hpp"

namespace tq::http {

namespace detail {

/// A URL, split: where to connect, and what goes before every path.
struct address {
    std::string origin, prefix;
};

/// Throws invalid_option for what is not "http[s]://host[:port][/path]".
inline address parse_url(const std::string& url) {
    const bool secure = url.starts_with("https://");
    const std::size_t begin = secure ? 8 : 7;
    const std::size_t slash = url.find('/', begin);
    const std::string host = url.substr((std::min)(begin, url.size()), slash - begin);
    const bool good = (secure || url.starts_with("http://")) && !host.empty() &&
                      host.find_first_of("@ \t\r\n?#") == std::string::npos;
    // What is wrong may hold a password: the URL is not repeated.
    check_option(good, "server", "url", "one that cannot be used",
                 "\"http://host:port\" or \"https://...\", without user, spaces, '?' and '#'");
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
    check_option(!secure, "server", "url", url,
                 "\"http://...\": this program was built without OpenSSL");
#endif
    address result{url.substr(0, slash), slash == std::string::npos ? "" : url.substr(slash)};
    while (result.prefix.ends_with('/')) result.prefix.pop_back();
    return result;
}

/// What came of one try.
struct reply {
    std::optional<nlohmann::json> body{};  // if all went well
    std::string problem{};                 // else this
    int status = 0;                        // of HTTP; 0 if there was no answer
    bool may_pass = false;                 // worth another try
    std::chrono::milliseconds wait{0};     // what the server asks for
};

/// A body as JSON; discarded if it is none, or nested deeper than any honest answer: to copy a value
/// costs stack for each level.
inline nlohmann::json parse_body(const std::string& text) {
    constexpr int deepest = 64;
    bool fits = true;
    const auto shallow = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
        return fits = fits && depth <= deepest;
    };
    nlohmann::json body = nlohmann::json::parse(text, shallow, false);
    return fits ? body : nlohmann::json(nlohmann::json::value_t::discarded);
}

inline bool status_may_pass(int status) noexcept {
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

}  // namespace detail

/// Sends JSON to servers. Results are in the order of the requests, whatever order they come in.
///
///  * Redirects are not followed, so neither prompts nor the key go to another host.
///  * Errors are backend_errors that name the server, the path, the status and the number of tries; code()
///    is the HTTP status, or 0 without one.
///  * Not thread-safe: one call at a time (it uses threads of its own).
class client {
public:
    /// Throws invalid_option for an option out of range, a URL that cannot be used, or an environment
    /// variable that is not set. Nothing is sent.
    explicit client(server_options options) : options_{std::move(options)} {
        validate(options_, "server");
        for (const std::string& url : options_.urls) servers_.push_back({detail::parse_url(url)});
        if (options_.key_variable.empty()) return;
        const char* key = std::getenv(options_.key_variable.c_str());
        check_option(key != nullptr && *key != '\0', "server", "key_variable",
                     options_.key_variable, "an environment variable that is set");
        key_ = key;
        check_option(key_.find_first_of("\r\n") == std::string::npos, "server", "key_variable",
                     options_.key_variable, "one whose value is a single line");
    }

    /// The answer to one request.
    [[nodiscard]] nlohmann::json post(std::string_view path, const nlohmann::json& body) {
        return std::move(post_all(path, {&body, 1}).front());
    }

    /// The answers to all, `connections` at a time. If one fails for good, no further ones are begun, and
    /// the error of the first of those that failed is thrown.
    [[nodiscard]] std::vector<nlohmann::json> post_all(std::string_view path,
                                                       std::span<const nlohmann::json> bodies) {
        std::vector<nlohmann::json> answers(bodies.size());
        std::vector<std::exception_ptr> errors(bodies.size());
        std::atomic<std::size_t> next{0};
        std::atomic<bool> failed{false};
        const std::size_t turn = turn_;  // servers take turns from one call to the next, too
        turn_ += bodies.size();
        const auto work = [&] {
            for (;;) {
                const std::size_t i = failed ? bodies.size() : next++;
                if (i >= bodies.size()) return;
                try {
                    answers[i] = ask(path, bodies[i], turn + i);
                } catch (...) {
                    errors[i] = std::current_exception();
                    failed = true;
                }
            }
        };
        {
            std::vector<std::jthread> others;
            for (std::size_t i = 1; i < (std::min)(options_.connections, bodies.size()); ++i)
                others.emplace_back(work);
            work();
        }
        for (const std::exception_ptr& error : errors)
            if (error) std::rethrow_exception(error);
        return answers;
    }

    /// What it was made with.
    [[nodiscard]] const server_options& options() const noexcept { return options_; }
    /// Tries so far, retries included.
    [[nodiscard]] std::size_t tries() const noexcept { return tries_; }

private:
    struct server {
        detail::address address;
        std::vector<std::unique_ptr<httplib::Client>> idle{};
    };

    [[nodiscard]] nlohmann::json ask(std::string_view path, const nlohmann::json& body,
                                     std::size_t turn) {
        // Text that is not UTF-8 (a character cut in two) is sent with replacement characters.
        const std::string text =
            body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        std::chrono::milliseconds backoff = options_.backoff;
        for (std::size_t retry = 0;; ++retry) {
            server& asked = servers_[(turn + retry) % servers_.size()];
            detail::reply reply = try_once(asked, path, text);
            if (reply.body) return *std::move(reply.body);
            if (!reply.may_pass || retry == options_.retries)
                throw backend_error{asked.address.origin + asked.address.prefix +
                                        std::string{path} + ": " + reply.problem + " (" +
                                        std::to_string(retry + 1) +
                                        (retry == 0 ? " try)" : " tries)"),
                                    reply.status};
            if ((retry + 1) % servers_.size() != 0) continue;  // another one first
            std::this_thread::sleep_for(
                (std::min)((std::max)(backoff, reply.wait), options_.longest_backoff));
            backoff = (std::min)(2 * backoff, options_.longest_backoff);
        }
    }

    [[nodiscard]] detail::reply try_once(server& asked, std::string_view path,
                                         const std::string& text) {
        ++tries_;
        using clock = std::chrono::steady_clock;
        const clock::time_point deadline = clock::now() + options_.response_timeout;
        bool too_long = false, too_late = false;
        std::string received;

        httplib::Request request;
        request.method = "POST";
        request.path = asked.address.prefix + std::string{path};
        request.body = text;
        request.set_header("Content-Type", "application/json");
        if (!key_.empty()) request.set_header("Authorization", "Bearer " + key_);
        request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t,
                                       std::uint64_t) {
            too_long = size > options_.max_response - received.size();
            too_late = clock::now() > deadline;
            if (too_long || too_late) return false;
            received.append(data, size);
            return true;
        };
        std::unique_ptr<httplib::Client> connection = lease(asked);
        const httplib::Result result = connection->send(request);
        if (too_long)
            return {.problem = "a response of more than " + std::to_string(options_.max_response) +
                               " bytes"};
        if (too_late || result.error() == httplib::Error::Read ||
            result.error() == httplib::Error::Write)
            return {.problem = too_late || clock::now() > deadline
                                   ? "no answer in " +
                                         std::to_string(options_.response_timeout.count()) + " ms"
                                   : "the connection was closed before the answer",
                    .may_pass = true};
        if (!result)
            return {.problem = "no connection (" + httplib::to_string(result.error()) + ")",
                    .may_pass = true};
        give_back(asked, std::move(connection));
        return judge(*result, received);
    }

    [[nodiscard]] detail::reply judge(const httplib::Response& response,
                                      const std::string& received) const {
        detail::reply reply{.status = response.status};
        if (response.status >= 200 && response.status < 300) {
            nlohmann::json body = detail::parse_body(received);
            if (!body.is_discarded()) {
                reply.body = std::move(body);
                return reply;
            }
            reply.problem = "an answer that is not JSON, or nested too deep: " + excerpt(received);
            reply.may_pass = true;
            return reply;
        }
        reply.problem = "status " + std::to_string(response.status) + ": " + excerpt(received);
        reply.may_pass = detail::status_may_pass(response.status);
        const std::string asks = response.get_header_value("Retry-After");
        if (!asks.empty() && asks.size() < 6 &&
            asks.find_first_not_of("0123456789") == std::string::npos)
            reply.wait = std::chrono::seconds{std::stol(asks)};
        return reply;
    }

    /// The beginning of what a server says, on one line and without the key.
    [[nodiscard]] std::string excerpt(std::string text) const {
        if (!key_.empty())
            for (std::size_t at; (at = text.find(key_)) != std::string::npos;)
                text.replace(at, key_.size(), "***");
        text.resize(std::min<std::size_t>(text.size(), 300));
        for (char& c : text)
            if (static_cast<unsigned char>(c) < ' ') c = ' ';
        return text.empty() ? "(empty)" : text;
    }

    [[nodiscard]] std::unique_ptr<httplib::Client> lease(server& asked) {
        {
            const std::lock_guard lock{mutex_};
            if (!asked.idle.empty()) {
                std::unique_ptr<httplib::Client> idle = std::move(asked.idle.back());
                asked.idle.pop_back();
                return idle;
            }
        }
        auto fresh = std::make_unique<httplib::Client>(asked.address.origin);
        fresh->set_keep_alive(true);
        fresh->set_follow_location(false);
        fresh->set_tcp_nodelay(true);
        fresh->set_connection_timeout(options_.connect_timeout);
        fresh->set_read_timeout(options_.response_timeout);
        fresh->set_write_timeout(options_.response_timeout);
        return fresh;
    }

    void give_back(server& asked, std::unique_ptr<httplib::Client> connection) {
        const std::lock_guard lock{mutex_};
        asked.idle.push_back(std::move(connection));
    }

    server_options options_;
    std::string key_;
    std::vector<server> servers_;
    std::mutex mutex_;  // of the servers' idle connections
    std::size_t turn_ = 0;
    std::atomic<std::size_t> tries_{0};
};

namespace detail {

/// A field of an answer. Throws backend_error, which begins with `where`, if it is not there or of
/// another type.
template <class Value>
[[nodiscard]] Value field(const nlohmann::json& object, const char* name, std::string_view where) {
    try {
        return object.at(name).get<Value>();
    } catch (const nlohmann::json::exception& error) {
        throw backend_error{std::string{where} + ": an answer without a usable \"" + name +
                            "\": " + error.what()};
    }
}

/// Things that travel together: each of 0 ... count - 1 joins the first group that `fits(group, i)` lets
/// it into, or begins one.
template <class Fits>
[[nodiscard]] std::vector<std::vector<std::size_t>> grouped(std::size_t count, Fits fits) {
    std::vector<std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < count; ++i) {
        const auto found =
            std::ranges::find_if(groups, [&](const auto& group) { return fits(group, i); });
        if (found != groups.end())
            found->push_back(i);
        else
            groups.push_back({i});
    }
    return groups;
}

/// The parts of an answer, one for each of `count` things asked for and in their order, wherever the
/// server put them. Parts with an "index" go where it says.
/// Throws backend_error, which begins with `where`, unless there is exactly one for each.
[[nodiscard]] inline std::vector<nlohmann::json> parts_of(nlohmann::json answer, const char* name,
                                                          std::size_t count,
                                                          std::string_view where) {
    auto list = answer.is_array() ? std::move(answer) : field<nlohmann::json>(answer, name, where);
    if (!list.is_array() || list.size() != count)
        throw backend_error{std::string{where} + ": " + std::to_string(list.size()) +
                            " results for " + std::to_string(count) + " requests"};
    std::vector<nlohmann::json> result(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::size_t place = i;
        if (list[i].is_object() && list[i].contains("index"))
            place = field<std::size_t>(list[i], "index", where);
        if (place >= count || !result[place].is_null())
            throw backend_error{std::string{where} + ": two results for one request"};
        result[place] = std::move(list[i]);
    }
    return result;
}

}  // namespace detail

}  // namespace tq::http
