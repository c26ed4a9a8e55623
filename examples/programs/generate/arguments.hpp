#pragma once
// What the user asks of `generate`.

#include <cstddef>
#include <string>
#include <vector>

#include <tq/tq.hpp>

#include "../support/defaults.hpp"
#include "../support/prompts.hpp"

/// A decoding that is shown beside the others.
enum class method { plain, baseline, tq };

/// Which model is tilted; automatic = the baseline if it has the policy's vocabulary.
enum class anchor { automatic, policy, baseline };

/// How futures of the baseline are turned into Q.
enum class transfer { direct, indirect, soft };

struct arguments {
    // models
    std::string model;           // GGUF of the policy
    std::string baseline_model;  // GGUF of the baseline; empty = the policy's
    std::string lora;            // adapter of the baseline; empty = none
    double lora_scale = 1.0;
    std::vector<std::string> rewards;    // safetensors heads, or "brevity"
    std::vector<double> reward_weights;  // as many as rewards, or none: 1 each
    std::string reward_model;            // GGUF the heads read; empty = the policy's
    std::size_t threads = 0;             // 0 = all cores
    std::size_t context = 4096;          // tokens that the KV cache of each model holds

    // prompts
    std::vector<std::string> prompts;
    std::string prompt_file;  // "-" = standard input
    prompts::format prompts_format = prompts::format::automatic;
    std::size_t limit = 0;  // prompts of the file; 0 = all
    std::string system, baseline_system;
    std::string prompt_format;    // what models see, with {prompt}; empty = their chat template
    std::string baseline_prompt;  // what the baseline sees; empty = as the others
    std::size_t tokens = 32;

    // decoding
    std::vector<method> methods = {method::plain, method::baseline, method::tq};
    tq::decode_options decode = demo_defaults::decoding();
    tq::rollout_options rollout = {};
    ::anchor anchor = ::anchor::automatic;
    ::transfer transfer = ::transfer::direct;
    double beta = 0.1;        // of indirect and soft transfer
    double policy_share = 0;  // of the rollouts
    tq::weight_options weights = {};
    tq::selection others_select = tq::selection::sample;  // for plain and baseline

    // output
    bool json = false;
    bool profile = false;
    std::string trace;
};

/// Reads the command line. Exits after --help and --version; throws tq::invalid_option with one clear
/// line for anything wrong.
[[nodiscard]] arguments read_arguments(int argc, char** argv);

/// The prompts: those given, or those of the file. Throws tq::invalid_option naming file and place.
[[nodiscard]] std::vector<prompts::prompt> read_prompts(const arguments& args);
