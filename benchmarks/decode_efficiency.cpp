// decode_efficiency: how much of the engine's speed does a whole TQ* decode keep?
//
// A TQ* answer is decoded and timed. Then plain llama.cpp, in a loop of its own, decodes as many
// tokens with the same weights and threads, as many sequences at once as TQ* has candidates, at the
// same context lengths. efficiency = model tokens/s of the whole decode over tokens/s of that loop.
// Also: the share of time spent outside the models. Both are checked to have decoded what they claim.

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <llama.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>

#include "../examples/support/defaults.hpp"
#include "../examples/support/timed.hpp"

namespace {

namespace llama = tq::llama_cpp;
using clock_type = std::chrono::steady_clock;

struct settings {
    std::size_t top_k = 8, tokens = 32, horizon = 32, prompts = 1,
                threads = demo_defaults::threads();
};

struct decode_result {
    double seconds = 0, model_seconds = 0;
    std::size_t answer_tokens = 0, model_tokens = 0, baseline_tokens = 0, baseline_calls = 0;
    std::size_t prompt_tokens = 0;
};

decode_result decode(const settings& options, llama::model& weights) {
    const llama::language_model_options context{
        .context = 16384, .max_sequences = 128, .threads = options.threads};
    llama::language_model_options aligned = context;
    aligned.lora = demo_defaults::baseline_lora();
    llama::language_model policy{weights, context}, baseline{weights, aligned};
    llama::reward_head reward{weights, demo_defaults::reward_head(), context};
    timed<llama::language_model> timed_policy{policy}, timed_baseline{baseline};
    timed<llama::reward_head> timed_reward{reward};
    tq::direct_transfer q{timed_baseline, timed_reward, {.horizon = options.horizon}};
    tq::decoder decoder{timed_policy, q, timed_baseline, {.alpha = 0.1, .top_k = options.top_k}};

    const std::vector<tq::token_list> prompts(
        options.prompts, weights.chat_prompt("Write a short review of a camping tent."));
    const auto start = clock_type::now();
    auto answers = decoder.generate_all(prompts, options.tokens);
    while (!answers.advance().empty()) {
    }
    decode_result result{.seconds = seconds_since(start)};
    for (std::size_t i = 0; i < answers.size(); ++i)
        result.answer_tokens += answers.answer(i).size();
    result.model_seconds = timed_policy.seconds + timed_baseline.seconds + timed_reward.seconds;
    result.baseline_tokens = baseline.tokens_decoded();
    result.baseline_calls = baseline.calls();
    result.model_tokens =
        policy.tokens_decoded() + baseline.tokens_decoded() + reward.tokens_decoded();
    result.prompt_tokens = prompts.front().size();
    return result;
}

/// Tokens per second of a plain llama.cpp loop: `width` sequences side by side after a prompt.
class plain_loop {
public:
    plain_loop(const std::string& path, std::size_t width, std::size_t threads) : width_{width} {
        llama_model_params model_params = llama_model_default_params();
        model_params.n_gpu_layers = 0;
        model_ = llama_model_load_from_file(path.c_str(), model_params);
        if (!model_) throw tq::backend_error{"decode_efficiency: cannot load " + path};
        llama_context_params params = llama_context_default_params();
        params.n_ctx = 4096;
        params.n_seq_max = static_cast<std::uint32_t>(width + 1);
        params.kv_unified = true;
        params.n_threads = params.n_threads_batch = static_cast<std::int32_t>(threads);
        context_ = llama_init_from_model(model_, params);
        if (!context_) throw tq::backend_error{"decode_efficiency: no context"};
        batch_ = llama_batch_init(512, 0, 1);
    }
    plain_loop(const plain_loop&) = delete;
    ~plain_loop() {
        llama_batch_free(batch_);
        llama_free(context_);
        llama_model_free(model_);
    }

    /// Decodes `tokens` tokens in rounds of `horizon` depths after a prefix of `prefix` tokens.
    double tokens_per_second(std::size_t tokens, std::size_t horizon, std::size_t prefix) {
        llama_memory_t memory = llama_get_memory(context_);
        llama_memory_clear(memory, true);
        batch_.n_tokens = 0;
        for (std::size_t i = 0; i < prefix; ++i) add(i, 0, i + 1 == prefix);
        decode();
        std::size_t done = 0;
        const auto start = clock_type::now();
        while (done < tokens) {
            for (std::size_t s = 1; s <= width_; ++s) {
                llama_memory_seq_rm(memory, static_cast<llama_seq_id>(s), -1, -1);
                llama_memory_seq_cp(memory, 0, static_cast<llama_seq_id>(s), -1, -1);
            }
            for (std::size_t depth = 0; depth < horizon && done < tokens; ++depth, done += width_) {
                batch_.n_tokens = 0;
                for (std::size_t s = 1; s <= width_; ++s) add(prefix + depth, s, true);
                decode();
            }
        }
        return static_cast<double>(done) / seconds_since(start);
    }

private:
    void add(std::size_t position, std::size_t sequence, bool output) {
        const std::int32_t i = batch_.n_tokens++;
        batch_.token[i] = static_cast<llama_token>(1000 + 7 * position + 13 * sequence);
        batch_.pos[i] = static_cast<llama_pos>(position);
        batch_.n_seq_id[i] = 1;
        batch_.seq_id[i][0] = static_cast<llama_seq_id>(sequence);
        batch_.logits[i] = output;
    }
    void decode() {
        if (const int code = llama_decode(context_, batch_); code != 0)
            throw tq::backend_error{"decode_efficiency: llama_decode failed", code};
        volatile float sink = llama_get_logits_ith(context_, -1)[0];  // results are fetched
        static_cast<void>(sink);
    }

    std::size_t width_;
    llama_model* model_ = nullptr;
    llama_context* context_ = nullptr;
    llama_batch batch_{};
};

void run(const settings& options) {
    llama::model weights{demo_defaults::model()};
    plain_loop loop{demo_defaults::model(), options.top_k * options.prompts, options.threads};
    fmt::print("{:>6} {:>14} {:>12} {:>12} {:>14} {:>12} {:>11}\n", "round", "answer tok/s",
               "model tok/s", "plain tok/s", "efficiency", "host share", "tokens/call");
    std::vector<double> efficiencies, host_shares, speeds;
    for (int round = 0; round < 3; ++round) {  // in turn, so that drift hits both
        const decode_result result = decode(options, weights);
        const double plain = loop.tokens_per_second(result.baseline_tokens, options.horizon,
                                                    result.prompt_tokens + options.tokens / 2);
        const double model_rate = static_cast<double>(result.model_tokens) / result.seconds;
        const double least = static_cast<double>(options.tokens - 1) * 2;
        if (static_cast<double>(result.baseline_tokens) < least)
            throw tq::backend_error{"decode_efficiency: the decode did not do its rollouts"};
        efficiencies.push_back(model_rate / plain);
        host_shares.push_back(1 - result.model_seconds / result.seconds);
        speeds.push_back(static_cast<double>(result.answer_tokens) / result.seconds);
        fmt::print("{:>6} {:>14.2f} {:>12.0f} {:>12.0f} {:>14.2f} {:>12.3f} {:>11.1f}\n", round + 1,
                   speeds.back(), model_rate, plain, efficiencies.back(), host_shares.back(),
                   static_cast<double>(result.baseline_tokens) /
                       static_cast<double>(result.baseline_calls));
    }
    const auto median = [](std::vector<double> values) {
        std::sort(values.begin(), values.end());
        return values[values.size() / 2];
    };
    fmt::print("\n{}\n", nlohmann::json{{"efficiency", median(efficiencies)},
                                        {"host_share", median(host_shares)},
                                        {"answer_tokens_per_s", median(speeds)},
                                        {"prompts", options.prompts},
                                        {"top_k", options.top_k}}
                             .dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    CLI::App app{"Whole-decode tokens/s against a plain llama.cpp loop"};
    bool quick = false;
    app.add_flag("--quick", quick, "8 tokens");
    app.add_option("--top-k", options.top_k)->capture_default_str();
    app.add_option("--tokens", options.tokens)->capture_default_str();
    app.add_option("--horizon", options.horizon)->capture_default_str();
    app.add_option("--prompts", options.prompts, "decoded together")->capture_default_str();
    app.add_option("--threads", options.threads)->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    if (quick) options.tokens = 8;
    try {
        run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "decode_efficiency: {}\n", error.what());
        return 1;
    }
}
