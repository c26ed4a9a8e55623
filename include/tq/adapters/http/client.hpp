#pragma once
// client: JSON to servers and back, many requests at a time, with patience.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "options.hpp"
#include "parsing.hpp"
#include "transport.hpp"
#include "url.hpp"

namespace tq::http {

/// Sends JSON to servers. Results are in the order of the requests, whatever order they come in.
///
///  * Every request has a connection of its own, in the calling thread: an answer that comes late
///    or twice is never taken for another request's, and SIGPIPE does not reach the program.
///  * Redirects are not followed and proxies not used, so neither prompts nor the key go to another
///    host. Certificates are checked; SSL_CERT_FILE and SSL_CERT_DIR name others than the system's.
///  * Errors are backend_errors that name the server, the path, the status and the number of tries;
///    code() is the HTTP status, or 0 without one.
///  * Not thread-safe: one call at a time.
class client {
public:
    /// Throws invalid_option for an option out of range, a URL that cannot be used, or an
    /// environment variable that is not set. Nothing is sent.
    explicit client(server_options options)
        : options_{checked(std::move(options))},
          key_{key_of(options_)},
          transport_{options_, key_} {
        for (std::size_t i = 0; i < options_.urls.size(); ++i) {
            bases_.push_back(detail::base_of(options_.urls[i]));
            // What is wrong may hold a password: the URL is not repeated.
            check_option(!bases_.back().empty(), "server", "urls[" + std::to_string(i) + "]",
                         "one that cannot be used",
                         "\"http://host:port\" or \"https://...\", the port in [1, 65535], without "
                         "user, spaces, '?', '#'");
        }
    }
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    /// The answer to one request.
    [[nodiscard]] nlohmann::json post(std::string_view path, const nlohmann::json& body) {
        return std::move(post_all(path, {&body, 1}).front());
    }

    /// The answers to all, `connections` at a time. If one fails for good, the others are ended and
    /// its error is thrown.
    [[nodiscard]] std::vector<nlohmann::json> post_all(std::string_view path,
                                                       std::span<const nlohmann::json> bodies) {
        std::vector<nlohmann::json> answers(bodies.size());
        post_each(path, bodies,
                  [&](std::size_t i, nlohmann::json answer) { answers[i] = std::move(answer); });
        return answers;
    }

    /// The same, but `read(i, answer)` is called with the answer to request i as soon as it is
    /// there. If it throws detail::unusable, the server has failed to answer.
    template <class Read>
    void post_each(std::string_view path, std::span<const nlohmann::json> bodies, Read read) {
        const detail::no_sigpipe quiet;
        try {
            post_jobs(path, bodies, read);
        } catch (...) {
            transport_.drop();
            throw;
        }
    }

    [[nodiscard]] const server_options& options() const noexcept { return options_; }
    /// Tries so far, retries included.
    [[nodiscard]] std::size_t tries() const noexcept { return tries_; }

private:
    using clock = std::chrono::steady_clock;

    /// A request that waits for its next try or is under way.
    struct job {
        std::size_t server = 0;  // whose turn it is
        std::size_t tries = 0;
        clock::time_point due{};
        std::chrono::milliseconds backoff{};
        std::string first_problem{};
    };

    static server_options checked(server_options options) {
        validate(options, "server");
        return options;
    }
    static std::string key_of(const server_options& options) {
        const std::string& name = options.key_variable;
        if (name.empty()) return {};
        const char* key = std::getenv(name.c_str());
        check_option(key != nullptr && *key != '\0', "server", "key_variable", name,
                     "an environment variable that is set");
        check_option(std::string_view{key}.find_first_of("\r\n") == std::string_view::npos,
                     "server", "key_variable", name, "one whose value is a single line");
        return key;
    }

    template <class Read>
    void post_jobs(std::string_view path, std::span<const nlohmann::json> bodies, Read& read) {
        std::vector<job> jobs(bodies.size());
        std::vector<std::size_t> waiting(bodies.size());
        for (std::size_t i = 0; i < jobs.size(); ++i) {
            jobs[i].server = turn_++ % bases_.size();  // from one call to the next, too
            jobs[i].backoff = (std::min)(options_.backoff, options_.longest_backoff);
            waiting[i] = jobs.size() - 1 - i;  // the first is the last
        }
        while (!waiting.empty() || transport_.under_way() > 0) {
            const clock::time_point now = clock::now();
            clock::time_point next = now + std::chrono::seconds{1};
            for (std::size_t k = waiting.size();
                 k-- > 0 && transport_.under_way() < options_.connections;) {
                const std::size_t i = waiting[k];
                if (jobs[i].due > now) {
                    next = (std::min)(next, jobs[i].due);
                    continue;
                }
                waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(k));
                begin(i, jobs[i], path, bodies[i]);
            }
            const auto longest = std::chrono::ceil<std::chrono::milliseconds>(next - now);
            for (auto& [i, came] : transport_.wait(longest))
                if (!take(jobs[i], i, path, std::move(came), read)) waiting.push_back(i);
        }
    }

    void begin(std::size_t i, job& one, std::string_view path, const nlohmann::json& body) {
        ++tries_;
        ++one.tries;
        // Text that is not UTF-8 (a character cut in two) is sent with replacement characters.
        transport_.begin(i, bases_[one.server] + std::string{path},
                         body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    }

    /// Reads what came; false if the job is to be tried again. Throws when that is all.
    template <class Read>
    bool take(job& one, std::size_t i, std::string_view path, detail::outcome came, Read& read) {
        const int status = came.status;
        if (came.problem.empty()) {
            try {
                read(i, detail::answer_of(came));
                return true;
            } catch (const detail::unusable& error) {
                came.problem = error.what();
                came.may_pass = error.may_pass();
            }
        }
        const std::string problem = excerpt(std::move(came.problem));
        if (!came.may_pass || one.tries > options_.retries) {
            std::string text = bases_[one.server] + std::string{path} + ": " + problem + " (" +
                               std::to_string(one.tries) + (one.tries == 1 ? " try" : " tries");
            if (!one.first_problem.empty() && one.first_problem != problem)
                text += "; the first: " + one.first_problem;
            throw backend_error{text + ")", status};
        }
        if (one.first_problem.empty()) one.first_problem = problem;
        one.server = (one.server + 1) % bases_.size();
        if (one.tries % bases_.size() != 0) return false;  // another one first, at once
        const std::chrono::milliseconds longest = options_.longest_backoff;
        one.due = clock::now() + (std::min)((std::max)(one.backoff, came.wait), longest);
        one.backoff = one.backoff > longest / 2 ? longest : 2 * one.backoff;
        return false;
    }

    /// The beginning of a problem, as UTF-8 on one line and without the key.
    [[nodiscard]] std::string excerpt(std::string text) const {
        constexpr std::string_view blank = "***";
        for (std::size_t at = 0; !key_.empty() && (at = text.find(key_, at)) != std::string::npos;
             at += blank.size())
            text.replace(at, key_.size(), blank);
        if (text.ends_with(": ")) text += "(empty)";
        text.resize((std::min)(text.size(), std::size_t{400}));
        for (char& c : text)
            if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
        return nlohmann::json::parse(detail::shown(text)).get<std::string>();
    }

    server_options options_;
    std::string key_;
    detail::transport transport_;  // refers to the options
    std::vector<std::string> bases_;
    std::size_t turn_ = 0;
    std::size_t tries_ = 0;
};

}  // namespace tq::http
