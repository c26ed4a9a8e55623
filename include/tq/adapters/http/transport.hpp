#pragma once
// transport: requests that are under way at the same time, by libcurl.

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "exchange.hpp"
#include "options.hpp"

namespace tq::http::detail {

/// Requests that are under way at the same time, in the thread that waits for them.
class transport {
public:
    /// `options` must outlive it; `key` is sent with every request, none if empty.
    transport(const server_options& options, const std::string& key)
        : options_{options},
          multi_{(void(started()), curl_multi_init()), &curl_multi_cleanup},
          headers_{nullptr, &curl_slist_free_all} {
        if (!multi_) throw std::bad_alloc{};
        header("Content-Type: application/json");
        header("Connection: close");
        header("Expect:");
        if (!key.empty()) header("Authorization: Bearer " + key);
    }
    ~transport() { drop(); }
    transport(const transport&) = delete;
    transport& operator=(const transport&) = delete;

    [[nodiscard]] std::size_t under_way() const noexcept { return exchanges_.size(); }

    /// Begins to POST `text` to `url`. `number` is the caller's name for it.
    void begin(std::size_t number, const std::string& url, std::string text) {
        exchanges_.emplace_back(number, url, std::move(text), options_, headers_.get());
        if (curl_multi_add_handle(multi_.get(), exchanges_.back().handle()) != CURLM_OK) {
            exchanges_.pop_back();
            throw std::bad_alloc{};
        }
    }

    /// Waits until one is done or `longest` is over; returns those that are: (number, outcome).
    [[nodiscard]] std::vector<std::pair<std::size_t, outcome>> wait(
        std::chrono::milliseconds longest) {
        std::vector<std::pair<std::size_t, outcome>> done = advance();
        if (!done.empty()) return done;
        curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(longest.count()), nullptr);
        return advance();
    }

    /// Ends all that are under way.
    void drop() noexcept {
        for (exchange& one : exchanges_) curl_multi_remove_handle(multi_.get(), one.handle());
        exchanges_.clear();
    }

private:
    [[nodiscard]] static CURLcode started() {
        static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
        return once;
    }
    void header(const std::string& line) {
        curl_slist* longer = curl_slist_append(headers_.get(), line.c_str());
        if (longer == nullptr) throw std::bad_alloc{};
        (void)headers_.release();
        headers_.reset(longer);
    }
    [[nodiscard]] std::vector<std::pair<std::size_t, outcome>> advance() {
        int left = 0;
        curl_multi_perform(multi_.get(), &left);
        std::vector<std::pair<std::size_t, outcome>> done;
        while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
            const CURLcode code = message->data.result;
            const auto one = std::ranges::find(exchanges_, message->easy_handle, &exchange::handle);
            curl_multi_remove_handle(multi_.get(), one->handle());
            std::list<exchange> over;
            over.splice(over.end(), exchanges_, one);
            done.emplace_back(one->number(), one->result(code));
        }
        return done;
    }

    const server_options& options_;
    std::unique_ptr<CURLM, CURLMcode (*)(CURLM*)> multi_;
    std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers_;
    std::list<exchange> exchanges_;
};

}  // namespace tq::http::detail
