#pragma once
// Where the demo finds its files.

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include <tq/core/error.hpp>

namespace demo_defaults {

/// The folder that cmake/build_llama and cmake/fetch_model fill.
[[nodiscard]] inline std::filesystem::path cache() {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string{value ? value : ""};
    };
    if (const std::string own = variable("TQSTAR_CACHE"); !own.empty()) return own;
    if (const std::string user = variable("XDG_CACHE_HOME"); !user.empty())
        return std::filesystem::path{user} / "tq";
    return std::filesystem::path{variable("HOME")} / ".cache" / "tq";
}

/// TQ_MODEL if it is set, else the cached model. Throws invalid_option if there is none.
[[nodiscard]] inline std::string model() {
    if (const char* given = std::getenv("TQ_MODEL"); given && *given) return given;
    for (const char* kind : {"bf16", "f16", "q8_0"}) {
        const auto path =
            cache() / "models" / (std::string{"smollm2-135m-instruct-"} + kind + ".gguf");
        if (std::filesystem::exists(path)) return path.string();
    }
    throw tq::invalid_option{
        "no model: give --model FILE.gguf, or let cmake/fetch_model fetch the "
        "demo's into " +
        (cache() / "models").string()};
}

/// The cached model with another vocabulary. Throws invalid_option if there is none.
[[nodiscard]] inline std::string other_model() {
    if (const char* given = std::getenv("TQ_OTHER_MODEL"); given && *given) return given;
    const auto path = cache() / "models" / "gemma-3-270m-q4_k_m.gguf";
    if (std::filesystem::exists(path)) return path.string();
    throw tq::invalid_option{"no " + path.string() + ": let cmake/fetch_other_model fetch it"};
}

/// Names that stand for cached models.
[[nodiscard]] inline bool is_model_name(const std::string& name) {
    return name == "smollm2-135m-instruct" || name == "gemma-3-270m";
}
/// The file of a model: of one by that name, of the demo's if it is empty, else the name itself.
[[nodiscard]] inline std::string model_path(const std::string& name) {
    if (name.empty()) return model();
    if (!is_model_name(name)) return name;
    return name == "gemma-3-270m" ? other_model() : model();
}

/// The cached model of sentence embeddings; empty if there is none.
[[nodiscard]] inline std::string embedder() {
    if (const char* given = std::getenv("TQ_EMBEDDER"); given && *given) return given;
    const auto path = cache() / "models" / "all-minilm-l6-v2-f16.gguf";
    return std::filesystem::exists(path) ? path.string() : "";
}

[[nodiscard]] inline std::string asset(const char* name) {
    return std::string{TQSTAR_ASSETS_DIR} + "/" + name;
}
[[nodiscard]] inline std::string reward_head() { return asset("valence_head.safetensors"); }
/// The adapter that was aligned to valence, brevity or lexicon.
[[nodiscard]] inline std::string baseline_lora(const std::string& reward = "valence") {
    return asset(("baseline_" + reward + "_dpo.gguf").c_str());
}
[[nodiscard]] inline std::string prompts() { return asset("prompts.test.jsonl"); }

[[nodiscard]] inline std::size_t threads() {
    return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace demo_defaults
