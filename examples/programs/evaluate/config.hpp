#pragma once
// What `evaluate` is told to do: a JSON file, checked before anything runs.

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/rivals/rivals.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../support/defaults.hpp"
#include "../support/prompts.hpp"

namespace evaluation {

using prompts::prompt;

/// Ways to decode. The last five search with the reward, without look-ahead by a baseline.
enum class method_kind {
    plain,                  ///< the policy alone
    baseline,               ///< the aligned model alone
    mixed,                  ///< mixed logits of both (DeRa)
    tq,                     ///< Transfer Q*, token by token
    block_tq,               ///< Transfer Q* on blocks
    controlled_decoding,    ///< CD: the policy looks ahead for itself
    blockwise_cd,           ///< the same on blocks
    args,                   ///< reward of the prefix and the candidate
    best_of_n,              ///< the best of n answers
    speculative_rejection,  ///< the same, with early rejection
    segment_rejection,      ///< segments drawn until they are good enough
};

enum class transfer_kind { direct, indirect, soft };

/// How a baseline writes: as its model does, or by a search with the target reward.
enum class writer { model, args, best_of_n };

/// What the baseline is.
struct baseline_config {
    std::string
        model;  ///< GGUF file; empty = the policy's; with another vocabulary, text is passed on
    std::string lora;  ///< GGUF file of an adapter; empty = none
    double scale = 1;
    std::string system;  ///< system message that the baseline sees
    writer written = writer::model;
    double alpha = 0.1;  ///< of a baseline that writes by ARGS
    std::size_t n = 4;   ///< of one that writes best-of-n

    friend bool operator==(const baseline_config&, const baseline_config&) = default;
};

/// One method, one line of the results.
struct method_config {
    std::string name, label;
    std::string group;  ///< methods of one group differ in one number, which is swept
    method_kind kind = method_kind::tq;
    baseline_config baseline = {};
    tq::decode_options decode = demo_defaults::decoding();
    tq::rollout_options rollout = {};
    tq::block_options block = {.select = tq::selection::argmax};
    transfer_kind transfer = transfer_kind::direct;
    double beta = 0.1;
    tq::weight_options weights = {};
    bool on_policy = false;  ///< the policy is tilted, or proposes, instead of the baseline
    std::size_t n = 8;       ///< of best_of_n and speculative_rejection
    double rejected = 0.5;   ///< of speculative_rejection
    tq::segment_rejection_options segments = {};
    double weight = 1;    ///< of mixed
    nlohmann::json json;  ///< as it was written, sweeps resolved

    /// The same answer for every seed?
    [[nodiscard]] bool deterministic() const;
    /// Does a tilt have a strength?
    [[nodiscard]] bool has_alpha() const;
    /// Is it a form of Transfer Q*?
    [[nodiscard]] bool is_tq() const {
        return kind == method_kind::tq || kind == method_kind::block_tq;
    }
};

/// Who compares answers: a reward that no method decodes with. A program reads JSON lines and writes a number
/// for each.
struct judge_config {
    std::string name;     ///< empty = nobody
    std::string command;  ///< reads {"prompt", "answer"}, writes a score
    double margin = 0;    ///< closer scores are ties
    /// The command reads {"prompt", "a", "b"}, where b is by the method that all are compared with, and
    /// writes 1 if a is better, 0 if b is, 0.5 for a tie.
    bool pairs = false;
};

struct config {
    std::string name, description;
    std::filesystem::path folder;  ///< of the file; relative paths start here
    std::string model;             ///< GGUF; empty = the demo's
    std::string prompt_format;     ///< with {prompt}; empty = the model's chat template
    std::size_t gpu_layers = 0;    ///< of every model
    std::string reward_name = "valence", reward;  ///< head, safetensors; empty = the demo's
    std::string
        reward_model;      ///< GGUF that the head reads, of any vocabulary; empty = the policy's
    std::string embedder;  ///< GGUF, for coherence; empty = the cached one
    std::filesystem::path prompts;
    prompts::format prompts_format = prompts::format::automatic;
    std::size_t context = 16384;  ///< tokens that the KV cache of each model holds
    std::size_t first = 0, limit = 60, tokens = 32, seeds = 1, together = 10;
    std::string system;
    std::string against = "plain";
    judge_config judge;
    std::size_t explored = 2;  ///< prompts whose steps are recorded, of the first seed
    std::vector<method_config> methods;
    nlohmann::json json;  ///< as it was written, less methods, judge and words

    [[nodiscard]] const method_config& method(const std::string& name) const;
};

/// Throws tq::invalid_option that names the file, the place in it, the value and what is allowed.
[[nodiscard]] config read_config(const std::filesystem::path& file);

/// Throws tq::invalid_option that names the key and the file unless all files are there and begin as
/// they should.
void check_files(const config& config);

/// The prompts [first, first + limit). Throws tq::invalid_option.
[[nodiscard]] std::vector<prompt> read_prompts(const config& config);

}  // namespace evaluation
