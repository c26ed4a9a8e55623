#include "identity.hpp"

#include <sstream>

#include "../support/defaults.hpp"
#include "../support/digest.hpp"

namespace evaluation {
namespace {

using nlohmann::json;

/// Each file is read once.
std::string digest_of(const std::string& file) {
    static std::map<std::string, std::string> known;
    if (const auto found = known.find(file); found != known.end()) return found->second;
    return known[file] = digest::of_file(file);
}

std::string of_model(const std::string& name) { return digest_of(demo_defaults::model_path(name)); }

/// Of the program with all that is linked into it; where the system does not show it, the version.
std::string build() {
    const std::string self = "/proc/self/exe";
    return std::filesystem::exists(self) ? digest_of(self) : TQSTAR_VERSION_STRING;
}

}  // namespace

json identity_of(const config& c, const std::vector<prompt>& prompts, std::size_t threads) {
    json texts = json::array();
    for (const prompt& p : prompts)
        for (const prompts::turn& t : p.turns) texts.push_back({t.role, t.text});
    const std::string head = c.reward.empty() ? demo_defaults::reward_head() : c.reward;
    return {
        {"prompts", digest::of_text(texts.dump())},
        {"model", of_model(c.model)},
        {"reward", digest_of(head)},
        {"reward_model", c.reward_model.empty() ? json(nullptr) : json(of_model(c.reward_model))},
        {"threads", threads},
        {"build", build()}};
}

json identity_of(const method_config& m) {
    json files = json::object();
    if (!m.baseline.model.empty()) files["baseline.model"] = of_model(m.baseline.model);
    if (!m.baseline.lora.empty()) files["baseline.lora"] = digest_of(m.baseline.lora);
    return files;
}

json identity_of(const config& c, const judge_config& judge) {
    json files = json::object();
    std::istringstream words{judge.command};
    for (std::string word; words >> word;) {
        std::error_code none;
        const auto file = c.folder / word;
        if (std::filesystem::is_regular_file(file, none)) files[word] = digest_of(file.string());
    }
    return {{"command", judge.command}, {"files", files}};
}

std::string differences(const json& a, const json& b) {
    std::string names;
    const json patch = json::diff(a, b);
    for (const json& change : patch)
        names += (names.empty() ? "" : ", ") + change["path"].get<std::string>();
    return names;
}

}  // namespace evaluation
