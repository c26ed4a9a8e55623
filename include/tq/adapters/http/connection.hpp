#pragma once
// connection: one server, its open connections, and one try of a request.

#include <httplib.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "options.hpp"
#include "parsing.hpp"

namespace tq::http::detail {

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

inline bool status_may_pass(int status) noexcept {
    return status == 408 || status == 425 || status == 429 || status >= 500;
}

/// A server. Its connections stay open and serve again.
class connection {
public:
    /// `options` and `key` (none if empty) must outlive it. Throws as parse_url does. Nothing is
    /// sent.
    connection(const std::string& url, const server_options& options, const std::string& key)
        : address_{parse_url(url)},
          options_{options},
          key_{key} {}

    /// Its URL, without a '/' at the end.
    [[nodiscard]] std::string url() const { return address_.origin + address_.prefix; }

    /// POSTs `text` to `path`, once. May be called from several threads.
    [[nodiscard]] reply try_once(std::string_view path, const std::string& text) {
        using clock = std::chrono::steady_clock;
        const clock::time_point deadline = clock::now() + options_.response_timeout;
        bool too_long = false, too_late = false;
        std::string received;

        httplib::Request request;
        request.method = "POST";
        request.path = address_.prefix + std::string{path};
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
        std::unique_ptr<httplib::Client> open = lease();
        const httplib::Result result = open->send(request);
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
        give_back(std::move(open));
        return judge(*result, received);
    }

private:
    [[nodiscard]] reply judge(const httplib::Response& response,
                              const std::string& received) const {
        reply result{.status = response.status};
        if (response.status >= 200 && response.status < 300) {
            nlohmann::json body = parse_body(received);
            if (!body.is_discarded()) {
                result.body = std::move(body);
                return result;
            }
            result.problem = "an answer that is not JSON, or nested too deep: " + excerpt(received);
            result.may_pass = true;
            return result;
        }
        result.problem = "status " + std::to_string(response.status) + ": " + excerpt(received);
        result.may_pass = status_may_pass(response.status);
        const std::string asks = response.get_header_value("Retry-After");
        if (!asks.empty() && asks.size() < 6 &&
            asks.find_first_not_of("0123456789") == std::string::npos)
            result.wait = std::chrono::seconds{std::stol(asks)};
        return result;
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

    [[nodiscard]] std::unique_ptr<httplib::Client> lease() {
        {
            const std::lock_guard lock{mutex_};
            if (!idle_.empty()) {
                std::unique_ptr<httplib::Client> idle = std::move(idle_.back());
                idle_.pop_back();
                return idle;
            }
        }
        auto fresh = std::make_unique<httplib::Client>(address_.origin);
        fresh->set_keep_alive(true);
        fresh->set_follow_location(false);
        fresh->set_tcp_nodelay(true);
        fresh->set_connection_timeout(options_.connect_timeout);
        fresh->set_read_timeout(options_.response_timeout);
        fresh->set_write_timeout(options_.response_timeout);
        return fresh;
    }

    void give_back(std::unique_ptr<httplib::Client> open) {
        const std::lock_guard lock{mutex_};
        idle_.push_back(std::move(open));
    }

    address address_;
    const server_options& options_;
    const std::string& key_;
    std::vector<std::unique_ptr<httplib::Client>> idle_;
    std::mutex mutex_;  // of idle_
};

}  // namespace tq::http::detail
