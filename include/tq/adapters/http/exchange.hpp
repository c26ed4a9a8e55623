#pragma once
// exchange: one request to a server, by libcurl.

#include <curl/curl.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): pthread_sigmask is of POSIX

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "../../version.hpp"
#include "options.hpp"

namespace tq::http::detail {

/// Keeps SIGPIPE from this thread while it lives, as a connection that the server has closed may
/// raise it: not every libcurl does so in TLS. Neither handlers nor other threads are touched.
class no_sigpipe {
public:
    no_sigpipe() noexcept {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        was_pending_ = pending();
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    ~no_sigpipe() {
        int taken = 0;
        if (!was_pending_ && pending()) sigwait(&pipe_, &taken);
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    no_sigpipe(const no_sigpipe&) = delete;
    no_sigpipe& operator=(const no_sigpipe&) = delete;

private:
    [[nodiscard]] static bool pending() noexcept {
        sigset_t set;
        return sigpending(&set) == 0 && sigismember(&set, SIGPIPE) == 1;
    }
    sigset_t pipe_, before_;
    bool was_pending_;
};

/// What came of one request.
struct outcome {
    std::string problem{};              // why there is no answer; empty if there is one
    std::string body{};                 // of the answer
    int status = 0;                     // of HTTP; 0 if there is no answer
    bool may_pass = false;              // worth another try, if there is no answer
    std::chrono::milliseconds wait{0};  // what the server asks for
};

/// One request on its way, on a connection of its own.
class exchange {
public:
    /// No connection serves twice: what a server sends too late, or once more, is nobody's answer.
    /// `options` and `headers` must outlive it.
    exchange(std::size_t number, const std::string& url, std::string text,
             const server_options& options, curl_slist* headers)
        : number_{number},
          text_{std::move(text)},
          options_{options},
          handle_{curl_easy_init(), &curl_easy_cleanup} {
        if (!handle_) throw std::bad_alloc{};
        set(CURLOPT_URL, url.c_str());
        set(CURLOPT_HTTPHEADER, headers);
        set(CURLOPT_POSTFIELDS, text_.data());
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(text_.size()));
        set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
        set(CURLOPT_FORBID_REUSE, 1L);
        set(CURLOPT_FRESH_CONNECT, 1L);
        set(CURLOPT_NOSIGNAL, 1L);
        set(CURLOPT_PROXY, "");  // prompts go to the server alone
        set(CURLOPT_USERAGENT, "tq/" TQSTAR_VERSION_STRING);
        set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options.connect_timeout));
        set(CURLOPT_TIMEOUT_MS, milliseconds(options.response_timeout));
        set(CURLOPT_ERRORBUFFER, words_.data());
        set(CURLOPT_WRITEFUNCTION, &take_body);
        set(CURLOPT_WRITEDATA, this);
        set(CURLOPT_HEADERFUNCTION, &take_header);
        set(CURLOPT_HEADERDATA, this);
        // As OpenSSL's and libcurl's own programs do.
        if (const char* file = std::getenv("SSL_CERT_FILE")) set(CURLOPT_CAINFO, file);
        if (const char* folder = std::getenv("SSL_CERT_DIR")) set(CURLOPT_CAPATH, folder);
    }
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;

    [[nodiscard]] std::size_t number() const noexcept { return number_; }
    [[nodiscard]] CURL* handle() const noexcept { return handle_.get(); }

    /// What came of it, when libcurl is done with it.
    [[nodiscard]] outcome result(CURLcode code) {
        if (no_memory_) throw std::bad_alloc{};
        if (too_long_)
            return {.problem = "a response of more than " + std::to_string(options_.max_response) +
                               " bytes"};
        if (headers_ > max_headers || code == CURLE_OUT_OF_MEMORY || code == too_large)
            return {.problem = "headers of more than " + std::to_string(max_headers) + " bytes"};
        if (code != CURLE_OK) return failure(code);
        long status = 0;
        curl_off_t seconds = 0;
        curl_easy_getinfo(handle(), CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(handle(), CURLINFO_RETRY_AFTER, &seconds);
        const curl_off_t most = options_.longest_backoff.count() / 1000 + 1;
        return {.body = std::move(received_),
                .status = static_cast<int>(status),
                .wait = std::chrono::seconds{std::clamp<curl_off_t>(seconds, 0, most)}};
    }

private:
    static constexpr auto too_large = static_cast<CURLcode>(100);  // CURLE_TOO_LARGE since 8.6
    static constexpr std::size_t max_headers = 65'536;             // with status lines and trailers

    template <class Value>
    void set(CURLoption option, Value value) {
        if (curl_easy_setopt(handle(), option, value) == CURLE_OUT_OF_MEMORY)
            throw std::bad_alloc{};
    }
    [[nodiscard]] static long milliseconds(std::chrono::milliseconds time) noexcept {
        constexpr std::chrono::milliseconds::rep most = 2'000'000'000;  // 23 days
        return static_cast<long>((std::min)(time.count(), most));
    }

    static std::size_t take_body(char* data, std::size_t one, std::size_t size,
                                 void* self) noexcept {
        auto& my = *static_cast<exchange*>(self);
        my.too_long_ = one * size > my.options_.max_response - my.received_.size();
        if (my.too_long_) return 0;
        try {
            my.received_.append(data, one * size);
        } catch (...) {
            my.no_memory_ = true;
            return 0;
        }
        return one * size;
    }
    static std::size_t take_header(char*, std::size_t one, std::size_t size, void* self) noexcept {
        auto& my = *static_cast<exchange*>(self);
        my.headers_ += one * size;
        return my.headers_ > max_headers ? 0 : one * size;
    }

    [[nodiscard]] outcome failure(CURLcode code) const {
        curl_off_t connected = 0;
        curl_easy_getinfo(handle(), CURLINFO_PRETRANSFER_TIME_T, &connected);
        const std::string words = words_[0] != '\0' && code != CURLE_COULDNT_CONNECT
                                      ? words_.data()
                                      : curl_easy_strerror(code);
        switch (code) {
            case CURLE_OPERATION_TIMEDOUT:
                if (connected == 0) break;
                return {.problem = "no answer in " +
                                   std::to_string(options_.response_timeout.count()) + " ms",
                        .may_pass = true};
            case CURLE_GOT_NOTHING:
            case CURLE_PARTIAL_FILE:
            case CURLE_RECV_ERROR:
            case CURLE_SEND_ERROR:
                return {.problem = "the connection was closed before the answer", .may_pass = true};
            case CURLE_PEER_FAILED_VERIFICATION:
            case CURLE_SSL_CACERT_BADFILE:
                return {.problem = "no connection (" + words + ")"};
            default:
                if (connected == 0) break;
                return {.problem = "an answer that is not HTTP (" + words + ")", .may_pass = true};
        }
        return {.problem = "no connection (" + words + ")", .may_pass = true};
    }

    std::size_t number_;
    std::string text_, received_;
    const server_options& options_;
    std::size_t headers_ = 0;
    bool too_long_ = false, no_memory_ = false;
    std::array<char, CURL_ERROR_SIZE> words_{};
    std::unique_ptr<CURL, void (*)(CURL*)> handle_;
};

}  // namespace tq::http::detail
