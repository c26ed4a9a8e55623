#pragma once
#include <nlohmann/json.hpp>
#include <string>
namespace evaluation {
inline std::string report_page(const nlohmann::json& results) {
    return results.dump(-1, 32, false, nlohmann::json::error_handler_t::replace);
}
}  // namespace evaluation
