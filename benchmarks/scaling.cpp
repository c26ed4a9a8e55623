// scaling: many prompts at once, how fast and in how much memory? And does memory grow with time?
//
// The demo's decoder (exact race, greedy rollouts that are remembered, anchored at the baseline) on
// 1 to 64 prompts together, each time with objects of its own. Beside the resident memory at its
// peak stands what the three KV caches take by their options,
//     cells * layers * KV heads * head size * 2 (keys, values) * 2 bytes (half precision).
// Then a cheap decoder emits 10,000 tokens, generation after generation from the same objects.
//
// Checked: nobody's answer depends on how many prompts are decoded beside it, on a bigram world without
// float noise (on the real model the share of the same answers is reported); peak memory is the weights, the stated KV caches and a bounded rest; after a warm-up, emitting
// tokens does not make the process larger.

#include <fmt/format.h>
#include <llama.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../examples/programs/support/defaults.hpp"
#include "../examples/programs/support/timed.hpp"

namespace {

namespace llama = tq::llama_cpp;

constexpr double megabyte = 1024.0 * 1024.0;
constexpr double rest_limit_mb = 384;   // of all three contexts: compute buffers and rows of logits
constexpr double growth_limit_mb = 16;  // from the warm-up on

struct settings {
    std::vector<std::size_t> counts{1, 4, 16, 64};
    std::size_t tokens = 32, emitted = 10000, warm_up = 1000;
    std::size_t together = 16, context = 16384, max_sequences = 128,
                threads = demo_defaults::threads();
};

[[noreturn]] void fail(const std::string& what) { throw tq::backend_error{what}; }

/// Memory of this process, resident now, in MB.
double resident_mb() {
    std::ifstream file{"/proc/self/statm"};
    double all = 0, resident = 0;
    if (!(file >> all >> resident)) fail("cannot read /proc/self/statm (Linux only)");
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / megabyte;
}

/// The peak of resident memory since the last restart(); where the kernel forbids to restart its own
/// count, the largest value seen by sample().
class peak_memory {
public:
    void restart() {
        std::ofstream file{"/proc/self/clear_refs"};
        counted_ = static_cast<bool>(file << "5" << std::flush);
        largest_ = resident_mb();
    }
    void sample() {
        if (!counted_) largest_ = std::max(largest_, resident_mb());
    }
    [[nodiscard]] double mb() const {
        if (!counted_) return largest_;
        std::ifstream file{"/proc/self/status"};
        for (std::string line; std::getline(file, line);)
            if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024;
        fail("no VmHWM in /proc/self/status");
    }

private:
    bool counted_ = false;
    double largest_ = 0;
};

/// Policy, baseline and reward, each with a context of its own.
struct models {
    models(const llama::model_file& file, const settings& options)
        : policy{file, context(options, {})},
          baseline{file, context(options, demo_defaults::baseline_lora())},
          reward{file, demo_defaults::reward_head(), context(options, {})} {}

    static llama::language_model_options context(const settings& options, const std::string& lora) {
        return {.lora = lora,
                .context = options.context,
                .max_sequences = options.max_sequences,
                .threads = options.threads};
    }
    [[nodiscard]] std::size_t tokens_decoded() const {
        return policy.tokens_decoded() + baseline.tokens_decoded() + reward.tokens_decoded();
    }

    llama::language_model policy, baseline;
    llama::reward_head reward;
};

/// What one KV cache takes by its options, in MB.
double stated_kv_mb(const llama::model_file& file, const settings& options) {
    const llama_model* model = file.handle();
    const double cells = static_cast<double>((options.context + 255) / 256 * 256);  // as llama.cpp
    const double head = static_cast<double>(llama_model_n_embd(model)) / llama_model_n_head(model);
    return cells * llama_model_n_layer(model) * llama_model_n_head_kv(model) * head * 2 * 2 /
           megabyte;
}

std::vector<tq::token_list> read_prompts(const llama::model_file& file) {
    std::vector<tq::token_list> prompts;
    for (const char* name : {"prompts.test.jsonl", "prompts.train.jsonl"}) {
        std::ifstream stream{demo_defaults::asset(name)};
        for (std::string line; std::getline(stream, line);)
            prompts.push_back(
                file.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>()));
    }
    if (prompts.empty()) fail("no prompts in " + demo_defaults::asset(""));
    return prompts;
}

/// `count` prompts from `first` on, over and over.
std::vector<tq::token_list> take(const std::vector<tq::token_list>& prompts, std::size_t first,
                                 std::size_t count) {
    std::vector<tq::token_list> result;
    for (std::size_t i = 0; i < count; ++i) result.push_back(prompts[(first + i) % prompts.size()]);
    return result;
}

/// Some prompts decoded together.
struct outcome {
    std::size_t prompts = 0, emitted = 0, model_tokens = 0;
    double seconds = 0;
    double before_mb = 0, ready_mb = 0, peak_mb = 0, after_mb = 0;
    std::vector<tq::token_list> answers = {};

    [[nodiscard]] double speed() const { return static_cast<double>(emitted) / seconds; }
    [[nodiscard]] double cost() const {
        return static_cast<double>(model_tokens) / static_cast<double>(emitted);
    }
};

outcome decode(const settings& options, const llama::model_file& file,
               const std::vector<tq::token_list>& prompts) {
    malloc_trim(0);  // what earlier objects freed does not count
    outcome result{.prompts = prompts.size(), .before_mb = resident_mb()};
    models models{file, options};
    tq::direct_transfer q{models.baseline, models.reward, {.horizon = options.tokens}};
    tq::decoder decoder{models.policy, q, models.baseline, demo_defaults::decoding()};
    result.ready_mb = resident_mb();
    peak_memory peak;
    peak.restart();
    const auto start = std::chrono::steady_clock::now();
    auto answers = decoder.generate_all(prompts, options.tokens);
    while (!answers.advance().empty()) peak.sample();
    result.seconds = seconds_since(start);
    result.peak_mb = peak.mb();
    result.after_mb = resident_mb();
    result.model_tokens = models.tokens_decoded();
    for (std::size_t i = 0; i < answers.size(); ++i) {
        const tq::token_view answer = answers.answer(i);
        if (answer.size() > options.tokens || !answers.done(i))
            fail(fmt::format("answer {} of {} has {} tokens and is {}", i, answers.size(),
                             answer.size(), answers.done(i) ? "done" : "not done"));
        result.answers.emplace_back(answer.begin(), answer.end());
        result.emitted += answer.size();
    }
    if (result.emitted == 0) fail("all answers are empty");
    return result;
}

/// How much of what some prompts answered they answer again beside more prompts.
struct likeness {
    std::size_t answers = 0, same_answers = 0;
    std::size_t tokens = 0, same_tokens = 0;  // the same = before an answer's first difference

    void add(const outcome& fewer, const outcome& more) {
        for (std::size_t i = 0; i < fewer.answers.size(); ++i) {
            const tq::token_list &x = fewer.answers[i], &y = more.answers[i];
            ++answers;
            same_answers += x == y;
            tokens += x.size();
            same_tokens += static_cast<std::size_t>(std::ranges::mismatch(x, y).in1 - x.begin());
        }
    }
    [[nodiscard]] double share_of_answers() const { return share(same_answers, answers); }
    [[nodiscard]] double share_of_tokens() const { return share(same_tokens, tokens); }

private:
    static double share(std::size_t part, std::size_t all) {
        return all == 0 ? 1 : static_cast<double>(part) / static_cast<double>(all);
    }
};

void print_row(const outcome& result, double kv_mb, double rest_mb) {
    fmt::print("{:>7} {:>9} {:>9.1f} {:>16.1f} {:>9.0f} {:>9.0f} {:>9.0f} {:>9.0f} {:>9.0f}\n",
               result.prompts, result.emitted, result.speed(), result.cost(), result.before_mb,
               kv_mb, rest_mb, result.peak_mb, result.after_mb);
    std::fflush(stdout);
}

void run_counts(const settings& options, const llama::model_file& file,
                const std::vector<tq::token_list>& prompts, nlohmann::json& json) {
    const double kv_mb = 3 * stated_kv_mb(file, options);
    json["kv_mb"] = kv_mb;
    fmt::print(
        "{} tokens each; 3 contexts of {} cells. Memory in MB: before the contexts + stated size "
        "of the KV caches + rest = peak\n\n{:>7} {:>9} {:>9} {:>16} {:>9} {:>9} {:>9} {:>9} "
        "{:>9}\n",
        options.tokens, options.context, "prompts", "tokens", "tokens/s", "model tok./tok.",
        "before", "KV", "rest", "peak", "after");
    likeness like;
    std::vector<outcome> outcomes;
    for (const std::size_t count : options.counts) {
        outcomes.push_back(decode(options, file, take(prompts, 0, count)));
        const outcome& result = outcomes.back();
        if (outcomes.size() > 1) like.add(outcomes[outcomes.size() - 2], result);
        const double rest_mb = result.peak_mb - result.before_mb - kv_mb;
        print_row(result, kv_mb, rest_mb);
        if (rest_mb > rest_limit_mb)
            fail(fmt::format("{:.0f} MB beside the weights and the KV caches, more than {:.0f}",
                             rest_mb, rest_limit_mb));
        const auto key = [&](const char* name) { return fmt::format("{}_{}", name, count); };
        json[key("tokens_per_s")] = result.speed();
        json[key("model_tokens_per_token")] = result.cost();
        json[key("peak_mb")] = result.peak_mb;
        json[key("rest_mb")] = rest_mb;
    }
    fmt::print(
        "\nbeside more prompts {} of {} answers are the same, and {:.0f} % of the tokens before "
        "the first difference\n",
        like.same_answers, like.answers, 100 * like.share_of_tokens());
    json["identical_answers"] = like.share_of_answers();
    json["identical_tokens"] = like.share_of_tokens();
}

/// The same decoder on a random bigram world, where equal sequences have equal rows to the last bit:
/// beside more prompts everybody answers the same.
void check_counts(const settings& options) {
    constexpr std::size_t vocabulary = 64;
    std::vector<std::vector<float>> logits(vocabulary, std::vector<float>(vocabulary));
    for (std::size_t t = 0; t < vocabulary; ++t)
        for (std::size_t z = 0; z < vocabulary; ++z)
            logits[t][z] = static_cast<float>(tq::random_key{5}.fold_in(t).gumbel(z));
    const auto even = [](tq::token_view, tq::token_view answer) {
        const auto count = std::ranges::count_if(answer, [](auto token) { return token % 2 == 0; });
        return static_cast<double>(count) /
               static_cast<double>(std::max<std::size_t>(answer.size(), 1));
    };
    std::vector<tq::token_list> before;
    for (const std::size_t count : options.counts) {
        tq::tabular::bigram_model model{logits, {1}};
        std::vector<tq::token_list> prompts;
        for (std::size_t i = 0; i < count; ++i)
            prompts.push_back({static_cast<tq::token_id>(2 * i % vocabulary)});
        tq::direct_transfer q{model, even, {.horizon = options.tokens}};
        tq::decoder decoder{model, q, {.alpha = 0.1, .top_k = 8}};
        auto answers = decoder.generate_all(prompts, options.tokens);
        while (!answers.advance().empty()) {
        }
        std::vector<tq::token_list> now;
        for (std::size_t i = 0; i < answers.size(); ++i)
            now.emplace_back(answers.answer(i).begin(), answers.answer(i).end());
        const std::size_t both = std::min(before.size(), now.size());
        if (!std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(both),
                        now.begin()))
            fail("answers depend on how many prompts are decoded together");
        before = std::move(now);
    }
}

/// Emits tokens from the same objects, and watches the memory.
void run_growth(const settings& options, const llama::model_file& file,
                const std::vector<tq::token_list>& prompts, nlohmann::json& json) {
    constexpr std::size_t length = 64, horizon = 2;
    models models{file, options};
    tq::direct_transfer q{models.baseline, models.reward, {.horizon = horizon}};
    tq::decoder decoder{models.policy, q, {.alpha = 2, .top_k = 4, .race = tq::race_mode::exact}};
    fmt::print("\n{} tokens, {} prompts at once, one generation after another; resident MB:\n",
               options.emitted, options.together);
    std::size_t emitted = 0, first = 0, next_sample = options.warm_up;
    std::vector<double> samples;
    const auto start = std::chrono::steady_clock::now();
    while (emitted < options.emitted) {
        auto answers = decoder.generate_all(take(prompts, first, options.together), length, first);
        first += options.together;
        while (emitted < options.emitted) {
            const auto steps = answers.advance();
            if (steps.empty()) break;
            for (const tq::step& step : steps) emitted += step.ends ? 0 : 1;
            if (emitted < next_sample) continue;
            next_sample += options.warm_up;
            samples.push_back(resident_mb());
            fmt::print(" {:.1f}", samples.back());
            std::fflush(stdout);
        }
    }
    const double end_mb = resident_mb();
    const double growth = end_mb - samples.front();
    fmt::print("\nfrom token {} to token {}: {:+.1f} MB; {:.1f} tokens/s, {:.1f} model tok./tok.\n",
               options.warm_up, emitted, growth,
               static_cast<double>(emitted) / seconds_since(start),
               static_cast<double>(models.tokens_decoded()) / static_cast<double>(emitted));
    if (growth > growth_limit_mb)
        fail(fmt::format("memory grew by {:.1f} MB in {} tokens, more than {:.0f}", growth,
                         emitted - options.warm_up, growth_limit_mb));
    json["growth_mb"] = growth;
    json["growth_tokens"] = emitted - options.warm_up;
}

void run(const settings& options) {
    for (const std::size_t count : options.counts)
        tq::check_option(count >= 1, "options", "counts", count, ">= 1");
    tq::check_option(!options.counts.empty() && options.tokens >= 1 && options.together >= 1,
                     "options", "tokens", options.tokens, ">= 1, as every other number");
    tq::check_option(options.emitted > options.warm_up, "options", "emitted", options.emitted,
                     "more than the warm-up's " + std::to_string(options.warm_up));
    const llama::model_file file{demo_defaults::model()};
    const std::vector<tq::token_list> prompts = read_prompts(file);
    nlohmann::json json{{"tokens", options.tokens}, {"threads", options.threads}};
    check_counts(options);
    run_counts(options, file, prompts, json);
    run_growth(options, file, prompts, json);
    fmt::print("\n{}\n", json.dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    bool quick = false;
    CLI::App app{"Speed and memory of many prompts at once, and over many tokens"};
    app.add_flag("--quick", quick, "8 tokens per answer, 2,000 in a row");
    app.add_option("--counts", options.counts, "prompts together")->capture_default_str();
    app.add_option("--tokens", options.tokens, "per answer")->capture_default_str();
    app.add_option("--emitted", options.emitted, "tokens in a row")->capture_default_str();
    app.add_option("--max-sequences", options.max_sequences, "of a context")->capture_default_str();
    app.add_option("--together", options.together, "prompts at once when emitting tokens in a row")
        ->capture_default_str();
    app.add_option("--threads", options.threads)->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        options.tokens = 8;
        options.emitted = 2000;
    }
    try {
        run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "scaling: {}\n", error.what());
        return 1;
    }
}
