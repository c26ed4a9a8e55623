// rollout_efficiency: how fast are a decode's rollouts, next to llama.cpp's own batched benchmark?
//
// A whole TQ* decode, in which the baseline rolls out every candidate of every prompt; then
// llama-batched-bench, a program of its own, with the same weights, threads, context and batch, as
// many sequences side by side as there are rollouts, behind a shared prompt as long as what the
// rollouts continue, and for as many tokens. In turn, so that drift hits both: a round is
// batched-bench, a decode, batched-bench, a decode with the adapter.
//
//   efficiency       = tokens/s of the baseline in its rollouts over batched-bench's when it
//                      generates, median over the rounds; the baseline is the plain model
//   efficiency_lora  = the same when the baseline has its LoRA adapter, which batched-bench has not
//   host_share       = share of the decode's time outside policy, baseline and reward
//
// No rows are kept: whether a later step's candidate is one that an earlier rollout wrote is the texts'
// affair, and would change the work. Checked: each call of the baseline decoded one token for each rollout, there were as many as the
// options imply, every rollout was judged, rewards are in range, and batched-bench did what it was
// asked to.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../examples/programs/support/defaults.hpp"
#include "../examples/programs/support/timed.hpp"

namespace {

namespace llama = tq::llama_cpp;
using clock_type = std::chrono::steady_clock;

struct settings {
    std::string tool;
    std::size_t prompts = 4, top_k = 8, tokens = 16, horizon = 32, rounds = 5,
                threads = demo_defaults::threads(), context = 4096, batch = 512;
    double temperature = 0;

    /// Rollouts that advance together.
    [[nodiscard]] std::size_t width() const { return prompts * top_k; }

    /// The lengths of the rollouts, step by step; a step without rollouts has none.
    [[nodiscard]] std::vector<std::size_t> lengths() const {
        std::vector<std::size_t> result;
        for (std::size_t left = tokens - 1; left > 0; --left)
            result.push_back(std::min(horizon, left));
        return result;
    }
};

[[noreturn]] void fail(const std::string& what) { throw tq::backend_error{what}; }

/// Throws backend_error unless `found` is `wanted`.
void expect(const std::string& what, std::size_t found, std::size_t wanted) {
    if (found != wanted) fail(fmt::format("{}: {}, must be {}", what, found, wanted));
}

/// One call of a model: its time, its sequences, and the tokens that it decoded for them.
struct model_call {
    double seconds = 0;
    std::size_t sequences = 0, tokens = 0;
};

/// A model whose calls are noted. It states no end tokens, so that every rollout has its full length
/// and the work is known in advance.
struct watched_model {
    llama::language_model& model;
    std::vector<model_call> calls = {};

    [[nodiscard]] std::size_t vocab_size() const { return model.vocab_size(); }
    [[nodiscard]] std::size_t max_batch() const { return model.max_batch(); }
    [[nodiscard]] std::span<const tq::logits_view> next_logits(
        std::span<const tq::token_view> sequences) {
        const std::size_t before = model.tokens_decoded();
        const auto start = clock_type::now();
        const auto rows = model.next_logits(sequences);
        calls.push_back({seconds_since(start), sequences.size(), model.tokens_decoded() - before});
        return rows;
    }
    [[nodiscard]] double seconds() const {
        double sum = 0;
        for (const model_call& call : calls) sum += call.seconds;
        return sum;
    }
};

/// A reward whose time and values are noted.
struct watched_reward {
    llama::reward_head& reward;
    double seconds = 0;
    std::vector<double> values = {};

    [[nodiscard]] tq::reward_range range() const { return reward.range(); }
    void score(std::span<const tq::answer_view> answers, std::span<double> result) {
        const auto start = clock_type::now();
        reward.score(answers, result);
        seconds += seconds_since(start);
        values.insert(values.end(), result.begin(), result.end());
    }
};

/// A timed decode.
struct outcome {
    double rollout_speed = 0;  // tokens/s of the baseline in its rollouts
    double host_share = 0;     // of the time
    double answer_speed = 0;   // emitted tokens/s
};

class bench {
public:
    explicit bench(const settings& options)
        : options_{options},
          file_{demo_defaults::model()},
          policy_{file_, context({})},
          plain_{file_, context({})},
          adapted_{file_, context(demo_defaults::baseline_lora())},
          reward_{file_, demo_defaults::reward_head(), context({})} {
        tq::check_option(options.width() <= plain_.max_batch(), "options", "prompts * top_k",
                         options.width(),
                         "at most " + std::to_string(plain_.max_batch()) +
                             ", else rollouts wait for each other");
        std::ifstream stream{demo_defaults::prompts()};
        for (std::string line; prompts_.size() < options.prompts && std::getline(stream, line);)
            prompts_.push_back(
                file_.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>()));
        expect("prompts in " + demo_defaults::prompts(), prompts_.size(), options.prompts);
    }

    [[nodiscard]] const std::string& model_path() const { return file_.path(); }
    [[nodiscard]] llama::language_model& plain() { return plain_; }
    [[nodiscard]] llama::language_model& adapted() { return adapted_; }

    /// Tokens that the rollouts continue, in the mean over the rollouts' tokens.
    [[nodiscard]] std::size_t mean_prefix() const {
        double weight = 0, sum = 0, prompt = 0;
        for (const tq::token_list& tokens : prompts_) prompt += static_cast<double>(tokens.size());
        const std::vector<std::size_t> lengths = options_.lengths();
        for (std::size_t step = 0; step < lengths.size(); ++step) {
            weight += static_cast<double>(lengths[step]);
            sum += static_cast<double>(lengths[step] * step);
        }
        return static_cast<std::size_t>(
            std::lround(prompt / static_cast<double>(prompts_.size()) + sum / weight));
    }

    /// A whole decode with cold caches. Throws unless it did what the options imply.
    outcome decode(llama::language_model& baseline) {
        policy_.clear_cache();
        baseline.clear_cache();
        reward_.clear_cache();
        watched_model policy{policy_}, watched{baseline};
        watched_reward reward{reward_};
        tq::direct_transfer q{watched,
                              reward,
                              {.horizon = options_.horizon,
                               .sampling = {.temperature = options_.temperature},
                               .reuse = false}};
        tq::decoder decoder{policy, q, {.top_k = options_.top_k}};
        const auto start = clock_type::now();
        auto answers = decoder.generate_all(prompts_, options_.tokens);
        while (!answers.advance().empty()) {
        }
        const double seconds = seconds_since(start);

        for (std::size_t i = 0; i < answers.size(); ++i)
            expect("length of an answer", answers.answer(i).size(), options_.tokens);
        check_rewards(reward.values);
        const double inside = policy.seconds() + watched.seconds() + reward.seconds;
        return {.rollout_speed = rollout_speed(watched.calls),
                .host_share = 1 - inside / seconds,
                .answer_speed = static_cast<double>(options_.prompts * options_.tokens) / seconds};
    }

private:
    [[nodiscard]] llama::language_model_options context(const std::string& lora) const {
        return {.lora = lora,
                .context = options_.context,
                .batch = options_.batch,
                .threads = options_.threads,
                .kept_rows = 0};
    }

    /// Tokens/s of all calls but the first, which decodes the prompts too.
    [[nodiscard]] double rollout_speed(const std::vector<model_call>& calls) const {
        std::size_t wanted = 0;
        for (const std::size_t length : options_.lengths()) wanted += length;
        expect("calls of the baseline", calls.size(), wanted);
        std::size_t tokens = 0;
        double seconds = 0;
        for (std::size_t i = 0; i < calls.size(); ++i) {
            const std::string where = fmt::format("call {} of the baseline, ", i);
            expect(where + "sequences", calls[i].sequences, options_.width());
            expect(where + "tokens", calls[i].tokens,
                   options_.width() + (i == 0 ? prompt_tokens() : 0));
            if (i == 0) continue;
            tokens += calls[i].tokens;
            seconds += calls[i].seconds;
        }
        return static_cast<double>(tokens) / seconds;
    }

    /// Tokens of the prompts, those of a common prefix once.
    [[nodiscard]] std::size_t prompt_tokens() const {
        std::vector<tq::token_list> sorted = prompts_;
        std::sort(sorted.begin(), sorted.end());
        std::size_t sum = 0;
        for (std::size_t i = 0; i < sorted.size(); ++i)
            sum += sorted[i].size() - (i == 0 ? 0 : common_prefix(sorted[i - 1], sorted[i]));
        return sum;
    }
    [[nodiscard]] static std::size_t common_prefix(tq::token_view a, tq::token_view b) {
        return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
    }

    void check_rewards(const std::vector<double>& values) const {
        expect("answers that were judged", values.size(), options_.width() * options_.tokens);
        for (const double value : values)
            if (!(value >= reward_.range().lo && value <= reward_.range().hi))
                fail(fmt::format("a reward is {}", value));
    }

    const settings& options_;
    llama::model_file file_;
    llama::language_model policy_, plain_, adapted_;
    llama::reward_head reward_;
    std::vector<tq::token_list> prompts_;
};

/// `word` as one word of a shell command.
std::string quoted(const std::string& word) {
    std::string result = "'";
    for (const char c : word) result += c == '\'' ? std::string{"'\\''"} : std::string{c};
    return result + "'";
}

/// The lines that a shell command prints. Throws backend_error, with its last lines, if it fails.
std::vector<std::string> run_command(const std::string& command) {
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) fail("cannot run " + command);
    std::string text;
    char part[4096];
    for (std::size_t size; (size = std::fread(part, 1, sizeof part, pipe)) > 0;)
        text.append(part, size);
    const int code = pclose(pipe);
    if (code != 0)
        fail(fmt::format("{} failed ({}): {}", command, code,
                         text.substr(text.size() - std::min<std::size_t>(text.size(), 500))));
    std::vector<std::string> lines{""};
    for (const char c : text)
        if (c == '\n')
            lines.emplace_back();
        else
            lines.back() += c;
    return lines;
}

/// llama-batched-bench: tokens/s when it generates what the rollouts of a decode are.
double batched_bench(const settings& options, const std::string& model, std::size_t prefix) {
    const std::vector<std::size_t> lengths = options.lengths();
    const std::string command = fmt::format(
        "{} -m {} -c {} -b {} -ub {} -t {} -tb {} -npp {} -ntg {} -npl {} -pps -kvu "
        "--output-format jsonl",
        quoted(options.tool), quoted(model), options.context, options.batch, options.batch,
        options.threads, options.threads, prefix, fmt::join(lengths, ","), options.width());
    double tokens = 0, seconds = 0;
    std::size_t runs = 0;
    for (const std::string& line : run_command(command)) {
        if (!line.starts_with('{')) continue;
        const auto run = nlohmann::json::parse(line);
        if (runs == lengths.size()) fail("llama-batched-bench ran more than it was asked to");
        const auto check = [&](const char* key, std::size_t wanted) {
            expect(fmt::format("llama-batched-bench, {}", key), run.at(key).get<std::size_t>(),
                   wanted);
        };
        check("n_kv_max", options.context);
        check("n_batch", options.batch);
        check("n_ubatch", options.batch);
        check("n_threads", options.threads);
        check("is_pp_shared", 1);
        check("pp", prefix);
        check("pl", options.width());
        check("tg", lengths[runs++]);
        const double t = run.at("t_tg");
        const double n = run.at("pl").get<double>() * run.at("tg").get<double>();
        if (!(t > 0) || std::abs(run.at("speed_tg").get<double>() * t / n - 1) > 0.01)
            fail("llama-batched-bench: its speed is not its tokens over its time: " + line);
        tokens += n;
        seconds += t;
    }
    expect("runs of llama-batched-bench", runs, lengths.size());
    return tokens / seconds;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void run(const settings& options) {
    tq::check_option(options.tokens >= 3 && options.prompts >= 1 && options.top_k >= 1 &&
                         options.horizon >= 1 && options.rounds >= 1,
                     "options", "tokens", options.tokens, ">= 3, and every other number >= 1");
    bench bench{options};
    const std::size_t prefix = bench.mean_prefix();
    fmt::print(
        "{} prompts, {} candidates each: {} rollouts side by side, {} to {} tokens long, behind {} "
        "tokens; {} threads\n\n{:>6} {:>14} {:>12} {:>11} {:>14} {:>11} {:>11} {:>10}\n",
        options.prompts, options.top_k, options.width(), options.lengths().back(),
        options.lengths().front(), prefix, options.threads, "round", "batched-bench", "rollouts",
        "efficiency", "with adapter", "efficiency", "host share", "answers");
    bench.decode(bench.plain());  // warms up
    std::vector<double> reference, speed, efficiency, adapted, efficiency_lora, host, host_lora,
        answers;
    for (std::size_t round = 0; round < options.rounds; ++round) {
        const auto tool = [&] { return batched_bench(options, bench.model_path(), prefix); };
        const double before = tool();
        const outcome plain = bench.decode(bench.plain());
        const double between = tool();
        const outcome lora = bench.decode(bench.adapted());
        reference.push_back((before + between) / 2);
        speed.push_back(plain.rollout_speed);
        adapted.push_back(lora.rollout_speed);
        efficiency.push_back(speed.back() / reference.back());
        efficiency_lora.push_back(adapted.back() / reference.back());
        host.push_back(plain.host_share);
        host_lora.push_back(lora.host_share);
        answers.push_back(plain.answer_speed);
        fmt::print("{:>6} {:>14.0f} {:>12.0f} {:>11.2f} {:>14.0f} {:>11.2f} {:>11.3f} {:>10.2f}\n",
                   round + 1, reference.back(), speed.back(), efficiency.back(), adapted.back(),
                   efficiency_lora.back(), host.back(), answers.back());
        std::fflush(stdout);
    }
    fmt::print("\n{}\n", nlohmann::json{{"efficiency", median(efficiency)},
                                        {"host_share", median(host)},
                                        {"efficiency_lora", median(efficiency_lora)},
                                        {"host_share_lora", median(host_lora)},
                                        {"tokens_per_s_batched_bench", median(reference)},
                                        {"tokens_per_s_rollouts", median(speed)},
                                        {"tokens_per_s_rollouts_lora", median(adapted)},
                                        {"tokens_per_s_answers", median(answers)},
                                        {"width", options.width()},
                                        {"tokens", options.tokens},
                                        {"rounds", options.rounds},
                                        {"threads", options.threads}}
                             .dump());
}

/// The arguments, in the order in which CLI11 wants them: the last one first. benchmarks/run says
/// --reference FILE, where the first line is the tool's path and each other line an argument.
std::vector<std::string> arguments(int argc, char** argv) {
    std::vector<std::string> result(argv + 1, argv + argc);
    if (result.size() == 2 && result[0] == "--reference") {
        std::ifstream file{result[1]};
        result = {"--tool"};
        for (std::string line; std::getline(file, line);) result.push_back(line);
        if (result.size() < 2) fail("no path in the reference's results");
    }
    std::reverse(result.begin(), result.end());
    return result;
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    CLI::App app{"Tokens/s of a decode's rollouts against llama-batched-bench"};
    bool quick = false;
    app.add_flag("--quick", quick, "8 tokens and 3 rounds at most");
    app.add_option("--tool", options.tool, "llama-batched-bench")->required();
    app.add_option("--prompts", options.prompts, "decoded together")->capture_default_str();
    app.add_option("--top-k", options.top_k)->capture_default_str();
    app.add_option("--tokens", options.tokens, "per answer")->capture_default_str();
    app.add_option("--horizon", options.horizon)->capture_default_str();
    app.add_option("--temperature", options.temperature, "of the rollouts")->capture_default_str();
    app.add_option("--rounds", options.rounds)->capture_default_str();
    app.add_option("--threads", options.threads)->capture_default_str();
    app.add_option("--context", options.context, "cells of a KV cache")->capture_default_str();
    app.add_option("--batch", options.batch, "tokens")->capture_default_str();
    try {
        app.parse(arguments(argc, argv));
        if (quick) {
            options.tokens = std::min<std::size_t>(options.tokens, 8);
            options.rounds = std::min<std::size_t>(options.rounds, 3);
        }
        run(options);
    } catch (const CLI::ParseError& error) {
        return app.exit(error);
    } catch (const std::exception& error) {
        fmt::print(stderr, "rollout_efficiency: {}\n", error.what());
        return 1;
    }
}
