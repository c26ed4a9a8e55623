#pragma once
// The URLs of servers, read by libcurl.

#include <curl/curl.h>

#include <memory>
#include <string>

namespace tq::http::detail {

/// What goes before every path: "http[s]://host[:port][/path]" without a '/' or "/v1" at its end,
/// as the paths begin with that. Empty for what is no such URL, or has a user, '?' or '#'.
inline std::string base_of(std::string url) {
    const std::size_t slashes = url.starts_with("https://")  ? 8
                                : url.starts_with("http://") ? 7
                                                             : 0;
    if (slashes == 0 || url.size() == slashes || url[slashes] == '/' ||
        url.find_first_of(" ?#@\\") != std::string::npos)
        return {};
    const std::unique_ptr<CURLU, void (*)(CURLU*)> parsed{curl_url(), &curl_url_cleanup};
    char* port = nullptr;
    if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
        curl_url_get(parsed.get(), CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return {};
    const std::unique_ptr<char, void (*)(void*)> number{port, &curl_free};
    if (std::string{port} == "0") return {};
    const auto trim = [&] {
        while (url.ends_with('/')) url.pop_back();
    };
    trim();
    if (url.ends_with("/v1")) url.resize(url.size() - 3);
    trim();
    return url;
}

}  // namespace tq::http::detail
