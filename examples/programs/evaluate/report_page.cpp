#include "report_page.hpp"

#include <string_view>

namespace evaluation {

extern const char* const report_template;  // report.html, compiled in by CMake

std::string report_page(const nlohmann::json& results) {
    const std::string json =
        results.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);  // ASCII
    std::string escaped;
    for (const char c : json) {
        if (c == '<')
            escaped += "\\u003c";
        else
            escaped += c;
    }
    constexpr std::string_view place = "@RESULTS@";
    std::string page = report_template;
    return page.replace(page.find(place), place.size(), escaped);
}

}  // namespace evaluation
