#pragma once
// The results as one HTML page with everything in it.

#include <nlohmann/json.hpp>
#include <string>

namespace evaluation {

/// report.html with the results inside. No text in them can end the script element or run: `<` is
/// written as an escape, and the page shows text as text. Invalid UTF-8 becomes U+FFFD.
[[nodiscard]] std::string report_page(const nlohmann::json& results);

}  // namespace evaluation
