#pragma once
// linear_head: finds and reads the last layer of a sequence classifier, as hubs publish it.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "safetensors.hpp"

namespace tq::llama_cpp {

/// Options of reward_head.
struct reward_head_options {
    /// The weight's tensor; empty = the one of a known name (see reward_head).
    std::string tensor = {};
    /// What each label counts, if the head has several: the reward is their sum. {0, 1} is the
    /// second of two. Finite; as many as labels; empty = there is one.
    std::vector<double> label_weights = {};
};

namespace detail {

[[nodiscard]] inline std::string text_of(const std::vector<std::size_t>& shape) {
    std::string text = "[";
    for (const std::size_t side : shape)
        text += (text.size() > 1 ? ", " : "") + std::to_string(side);
    return text + "]";
}

/// A few of the names, and how many more there are.
[[nodiscard]] inline std::string text_of(const std::vector<std::string>& names) {
    constexpr std::size_t most = 12;
    if (names.empty()) return "no tensors";
    std::string text;
    for (std::size_t i = 0; i < (std::min)(names.size(), most); ++i)
        text += (i > 0 ? ", " : "") + names[i];
    if (names.size() > most) text += " and " + std::to_string(names.size() - most) + " more";
    return text;
}

/// True for score.weight and the names that others give it, also inside of PEFT adapters.
[[nodiscard]] inline bool is_head(std::string_view name) {
    constexpr std::array known{"score",       "classifier", "v_head.summary",   "v_head",
                               "reward_head", "value_head", "regression_layer", "rm_head"};
    constexpr std::string_view prefix = "base_model.model.", weight = ".weight",
                               wrapped = ".modules_to_save.default";
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    if (!name.ends_with(weight)) return false;
    name.remove_suffix(weight.size());
    if (name.ends_with(wrapped)) name.remove_suffix(wrapped.size());
    return std::ranges::find(known, name) != known.end();
}

/// The name of the head's weight. Throws invalid_option if it is not among the names, or not alone.
[[nodiscard]] inline std::string find_head(const std::vector<std::string>& names,
                                           const std::string& wanted, const std::string& path) {
    std::vector<std::string> heads;
    for (const std::string& name : names)
        if (wanted.empty() ? is_head(name) : name == wanted) heads.push_back(name);
    if (heads.size() == 1) return heads[0];
    const std::string fault =
        heads.empty() ? "has no tensor " +
                            (wanted.empty() ? "score.weight, nor one of the other names "
                                              "of a reward's last layer"
                                            : wanted) +
                            "; it holds " + text_of(names)
                      : "has several heads: " + text_of(heads);
    throw invalid_option{"safetensors: " + path + ": " + fault +
                         (wanted.empty() ? " (the option `tensor` names one)" : "")};
}

/// The safetensors file with the head: `path` or, if that is a model.safetensors.index.json, the
/// shard beside it that the index names.
[[nodiscard]] inline std::string head_file(const std::string& path, const std::string& tensor) {
    if (!path.ends_with(".json")) return path;
    std::ifstream file{path};
    check_option(file.good(), "reward_head", "head", path, "a file that can be read");
    const nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
    const auto map = json.is_object() ? json.find("weight_map") : json.end();
    check_option(map != json.end() && map->is_object(), "reward_head", "head", path,
                 "a safetensors file or a model.safetensors.index.json with a weight_map");
    std::vector<std::string> names;
    for (const auto& [name, shard] : map->items()) names.push_back(name);
    const nlohmann::json& shard = (*map)[find_head(names, tensor, path)];
    check_option(shard.is_string(), "reward_head", "head", path, "an index of file names");
    return (std::filesystem::path{path}.parent_path() / shard.get<std::string>()).string();
}

/// w . h + b.
struct linear_head {
    std::vector<float> weight;  // [hidden]
    std::vector<float> bias;    // [1], or nothing
};

/// The labels' sum, each as often as it counts. Throws invalid_option for what does not fit.
[[nodiscard]] inline linear_head read_head(safetensors_file& file, std::size_t hidden,
                                           const reward_head_options& options) {
    const std::string name = find_head(file.names(), options.tensor, file.path());
    const float_tensor weight = file.tensor(name);
    const std::vector<std::size_t>& shape = weight.shape;
    const bool column = shape == std::vector<std::size_t>{hidden, 1};
    if (!column &&
        (shape.empty() || shape.size() > 2 || shape.back() != hidden || weight.values.empty()))
        file.fail(name + " has shape " + text_of(shape) + ", must be [1, " +
                  std::to_string(hidden) + "], [" + std::to_string(hidden) + "], [" +
                  std::to_string(hidden) + ", 1] or [labels, " + std::to_string(hidden) + "]");
    const std::size_t labels = weight.values.size() / hidden;
    std::vector<double> counts = options.label_weights;
    if (counts.empty() && labels == 1) counts = {1};
    if (counts.size() != labels)
        file.fail(name + " has " + std::to_string(labels) +
                  " outputs (labels), and label_weights " + std::to_string(counts.size()) +
                  " values: must be one for each, such as {0, 1} for the second of two");

    linear_head head;
    head.weight.resize(hidden);
    for (std::size_t i = 0; i < hidden; ++i) {
        double sum = 0;
        for (std::size_t label = 0; label < labels; ++label)
            sum += counts[label] * double{weight.values[label * hidden + i]};
        head.weight[i] = static_cast<float>(sum);
        if (!std::isfinite(head.weight[i])) file.fail("label_weights are not finite, or too large");
    }
    const std::size_t at = name.rfind("weight");
    const std::string bias_name = at == name.npos ? "" : std::string{name}.replace(at, 6, "bias");
    if (!file.has(bias_name)) return head;
    const float_tensor bias = file.tensor(bias_name);
    if (bias.shape.size() > 1 || bias.values.size() != labels)
        file.fail(bias_name + " has shape " + text_of(bias.shape) + ", must be [" +
                  std::to_string(labels) + "]");
    double sum = 0;
    for (std::size_t label = 0; label < labels; ++label)
        sum += counts[label] * double{bias.values[label]};
    head.bias = {static_cast<float>(sum)};
    return head;
}

}  // namespace detail
}  // namespace tq::llama_cpp
