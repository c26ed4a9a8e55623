#pragma once
// Which servers, and how patiently they are asked.

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "../../core/error.hpp"

namespace tq::http {

/// What speaks at the other end: whose paths, fields and answers are used.
enum class dialect {
    openai,     ///< the OpenAI API and its many imitations: text only
    llama_cpp,  ///< llama-server: tokens too
    vllm,       ///< vLLM: the OpenAI API, and tokens too
};

/// One server, or several that serve the same model.
struct server_options {
    /// "http://host:port", or with "https"; a path after it goes before every request's, but for a
    /// "/v1" at its end, with which the paths begin anyway. At least one. With several, requests
    /// take turns, and one that fails is tried at the next.
    std::vector<std::string> urls;

    /// The environment variable that holds the key, sent as "Authorization: Bearer <key>"; empty =
    /// none. The key itself is in no message.
    std::string key_variable = {};

    std::size_t connections = 8;  ///< requests at a time; >= 1

    std::chrono::milliseconds connect_timeout{5'000};     ///< with TLS; > 0
    std::chrono::milliseconds response_timeout{300'000};  ///< for a whole response, from the
                                                          ///< connection on; > 0, 23 days at most

    /// Tries after the first, for what may pass: no connection, no or a broken answer, status 408,
    /// 425, 429 and 5xx (but 501 and 505). [0, inf)
    std::size_t retries = 5;

    /// Waiting before the first retry, doubled for every further one. A server's "Retry-After" in
    /// seconds counts if it is longer. With several servers, the others are tried without waiting.
    std::chrono::milliseconds backoff{250};
    std::chrono::milliseconds longest_backoff{10'000};  ///< at most, whatever the server says

    /// Bytes of a response's body, at most; its headers may have 64 KiB.
    std::size_t max_response = std::size_t{64} << 20;
};

/// Throws invalid_option unless every field is in range.
inline void validate(const server_options& options, std::string_view where) {
    check_option(!options.urls.empty(), where, "urls", "none", "one or more");
    check_option(options.connections >= 1 && options.connections <= 1024, where, "connections",
                 options.connections, "in [1, 1024]");
    check_option(options.connect_timeout.count() > 0, where, "connect_timeout",
                 options.connect_timeout.count(), "> 0 ms");
    check_option(options.response_timeout.count() > 0, where, "response_timeout",
                 options.response_timeout.count(), "> 0 ms");
    check_option(options.backoff.count() >= 0, where, "backoff", options.backoff.count(),
                 ">= 0 ms");
    check_option(
        options.longest_backoff.count() >= 0 && options.longest_backoff <= std::chrono::hours{24},
        where, "longest_backoff", options.longest_backoff.count(), "in [0, 86400000] ms");
    check_option(options.max_response >= 1, where, "max_response", options.max_response,
                 ">= 1 byte");
}

}  // namespace tq::http
