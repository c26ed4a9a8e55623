#pragma once
// client: JSON to servers and back, many requests at a time, with patience.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <exception>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "connection.hpp"
#include "options.hpp"

namespace tq::http {

/// Sends JSON to servers. Results are in the order of the requests, whatever order they come in.
///
///  * Redirects are not followed, so neither prompts nor the key go to another host.
///  * Errors are backend_errors that name the server, the path, the status and the number of tries;
///    code() is the HTTP status, or 0 without one.
///  * Not thread-safe: one call at a time (it uses threads of its own).
class client {
public:
    /// Throws invalid_option for an option out of range, a URL that cannot be used, or an
    /// environment variable that is not set. Nothing is sent.
    explicit client(server_options options) : options_{std::move(options)} {
        validate(options_, "server");
        for (const std::string& url : options_.urls) servers_.emplace_back(url, options_, key_);
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

    /// The answers to all, `connections` at a time. If one fails for good, no further ones are
    /// begun, and the error of the first of those that failed is thrown.
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

    [[nodiscard]] const server_options& options() const noexcept { return options_; }
    /// Tries so far, retries included.
    [[nodiscard]] std::size_t tries() const noexcept { return tries_; }

private:
    [[nodiscard]] nlohmann::json ask(std::string_view path, const nlohmann::json& body,
                                     std::size_t turn) {
        // Text that is not UTF-8 (a character cut in two) is sent with replacement characters.
        const std::string text =
            body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        std::chrono::milliseconds backoff = options_.backoff;
        for (std::size_t retry = 0;; ++retry) {
            detail::connection& asked = servers_[(turn + retry) % servers_.size()];
            ++tries_;
            detail::reply reply = asked.try_once(path, text);
            if (reply.body) return *std::move(reply.body);
            if (!reply.may_pass || retry == options_.retries)
                throw backend_error{asked.url() + std::string{path} + ": " + reply.problem + " (" +
                                        std::to_string(retry + 1) +
                                        (retry == 0 ? " try)" : " tries)"),
                                    reply.status};
            if ((retry + 1) % servers_.size() != 0) continue;  // another one first
            std::this_thread::sleep_for(
                (std::min)((std::max)(backoff, reply.wait), options_.longest_backoff));
            backoff = (std::min)(2 * backoff, options_.longest_backoff);
        }
    }

    server_options options_;
    std::string key_;
    std::deque<detail::connection> servers_;  // they refer to the options and the key
    std::size_t turn_ = 0;
    std::atomic<std::size_t> tries_{0};
};

}  // namespace tq::http
