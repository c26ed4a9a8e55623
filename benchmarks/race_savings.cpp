// race_savings: model tokens per emitted token, with and without the race and the memory of greedy
// rollouts, at several strengths of the tilt. Identical tokens are checked, not assumed.
//
// On random bigram worlds (deterministic, so tokens must be the same to the last one) and on the
// real model (where float noise between batch shapes may decide a near tie: the share of answers
// that are the same is reported). Sampled choice, reward in [0, 1]. First greedy rollouts; then
// sampled ones, with the confident race beside the exact one; then how the savings grow with the
// number of candidates, the horizon, the vocabulary and the number of prompts.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "../examples/programs/support/defaults.hpp"

namespace {

namespace llama = tq::llama_cpp;

struct settings {
    std::size_t prompts = 4, tokens = 16, top_k = 8, horizon = 32;
    bool real = true;
};

/// One way of decoding: what it cost and what it said.
struct outcome {
    double tokens_per_token = 0;
    std::vector<tq::token_list> answers;
};

template <class Decoder, class Cost>
outcome decode(Decoder& decoder, const std::vector<tq::token_list>& prompts, std::size_t length,
               Cost cost) {
    const std::size_t before = cost();
    auto answers = decoder.generate_all(prompts, length);
    while (!answers.advance().empty()) {
    }
    outcome result;
    std::size_t emitted = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
        result.answers.emplace_back(answers.answer(i).begin(), answers.answer(i).end());
        emitted += answers.answer(i).size() + (answers.finished(i) ? 1 : 0);
    }
    result.tokens_per_token = static_cast<double>(cost() - before) / static_cast<double>(emitted);
    return result;
}

double share_identical(const outcome& a, const outcome& b) {
    std::size_t same = 0;
    for (std::size_t i = 0; i < a.answers.size(); ++i) same += a.answers[i] == b.answers[i];
    return static_cast<double>(same) / static_cast<double>(a.answers.size());
}

/// The four ways at one alpha; make(race, reuse) decodes.
template <class Make>
void compare(const char* world, double range_over_alpha, nlohmann::json& json, bool must_be_equal,
             Make make) {
    const outcome all = make(tq::race_mode::exhaustive, false);
    const outcome kept = make(tq::race_mode::exhaustive, true);
    const outcome raced = make(tq::race_mode::exact, false);
    const outcome both = make(tq::race_mode::exact, true);
    const double same = std::min(
        {share_identical(all, kept), share_identical(all, raced), share_identical(all, both)});
    if (must_be_equal && same < 1)
        throw tq::backend_error{
            "race_savings: the race chose other tokens in a world without noise"};
    const double ratio = both.tokens_per_token / all.tokens_per_token;
    fmt::print("{:<8} {:>12} {:>12.1f} {:>12.1f} {:>12.1f} {:>12.1f} {:>10.3f} {:>10.2f}\n", world,
               range_over_alpha, all.tokens_per_token, kept.tokens_per_token,
               raced.tokens_per_token, both.tokens_per_token, ratio, same);
    const std::string prefix = must_be_equal ? "bigram_" : "";
    json[fmt::format("{}tokens_exact_reuse_over_exhaustive_at_{}", prefix, range_over_alpha)] =
        ratio;
    double& identical = json[prefix + "identical_tokens"].get_ref<double&>();
    identical = std::min(identical, same);
}

/// Counts the sequences that a bigram model is asked about: one model token each.
struct counting_bigram : tq::tabular::bigram_model {
    using bigram_model::bigram_model;
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> sequences) {
        tokens += sequences.size();
        return bigram_model::next_logits(sequences);
    }
    std::size_t tokens = 0;
};

/// The share of even tokens: a reward in [0, 1].
struct even_reward {
    double operator()(tq::token_view, tq::token_view answer) const {
        double even = 0;
        for (const tq::token_id token : answer) even += token % 2 == 0;
        return answer.empty() ? 0 : even / static_cast<double>(answer.size());
    }
    [[nodiscard]] static tq::reward_range range() { return {0, 1}; }
};

/// A random bigram world and some decoding in it. The reward reads nothing, so what is counted is
/// policy and baseline.
struct world {
    std::size_t vocabulary = 64, prompts = 16, tokens = 16;
    tq::decode_options decode = {};
    tq::rollout_options rollout = {};

    [[nodiscard]] outcome run(tq::race_mode race, bool reuse) const {
        std::vector<std::vector<float>> logits(vocabulary, std::vector<float>(vocabulary));
        for (std::size_t t = 0; t < vocabulary; ++t)
            for (std::size_t z = 0; z < vocabulary; ++z)
                logits[t][z] = static_cast<float>(tq::random_key{5}.fold_in(t).gumbel(z));
        counting_bigram model{logits, {1}};
        std::vector<tq::token_list> questions;
        for (std::size_t i = 0; i < prompts; ++i)
            questions.push_back({static_cast<tq::token_id>(2 * i % vocabulary)});
        tq::rollout_options rollouts = rollout;
        rollouts.reuse = reuse;
        tq::decode_options options = decode;
        options.race = race;
        tq::direct_transfer q{model, even_reward{}, rollouts};
        tq::decoder decoder{model, q, options};
        return ::decode(decoder, questions, tokens, [&] { return model.tokens; });
    }
};

void run_bigram(const settings& options, double range_over_alpha, nlohmann::json& json) {
    const world bigram{.tokens = options.tokens,
                       .decode = {.alpha = 1 / range_over_alpha, .top_k = options.top_k},
                       .rollout = {.horizon = options.horizon}};
    compare("bigram", range_over_alpha, json, true,
            [&](tq::race_mode race, bool reuse) { return bigram.run(race, reuse); });
}

/// Sampled rollouts: exhaustive, exact and confident, with fresh noise and in scenarios with reuse.
void run_sampled(const settings& options, std::size_t rollouts, double range_over_alpha,
                 nlohmann::json& json) {
    world bigram{
        .tokens = options.tokens,
        .decode = {.alpha = 1 / range_over_alpha, .top_k = options.top_k},
        .rollout = {
            .horizon = options.horizon, .rollouts = rollouts, .sampling = {.temperature = 1}}};
    const outcome all = bigram.run(tq::race_mode::exhaustive, false);
    const outcome exact = bigram.run(tq::race_mode::exact, false);
    const outcome confident = bigram.run(tq::race_mode::confident, false);
    bigram.rollout.noise = tq::rollout_noise::scenario;
    const outcome scenarios = bigram.run(tq::race_mode::exhaustive, false);
    const outcome reused = bigram.run(tq::race_mode::exhaustive, true);
    const outcome exact_reused = bigram.run(tq::race_mode::exact, true);
    const outcome confident_reused = bigram.run(tq::race_mode::confident, true);
    if (share_identical(all, exact) < 1 || share_identical(scenarios, reused) < 1 ||
        share_identical(scenarios, exact_reused) < 1)
        throw tq::backend_error{"race_savings: race or reuse chose other tokens"};
    const auto ratio = [&](const outcome& other) {
        return other.tokens_per_token / all.tokens_per_token;
    };
    fmt::print("{:>8} {:>12} {:>12.0f} {:>12.3f} {:>12.3f} {:>12.3f} {:>12.3f} {:>12.3f}\n",
               rollouts, range_over_alpha, all.tokens_per_token, ratio(exact), ratio(confident),
               ratio(reused), ratio(exact_reused), ratio(confident_reused));
    json[fmt::format("sampled_{}_confident_over_exhaustive_at_{}", rollouts, range_over_alpha)] =
        ratio(confident);
    json[fmt::format("sampled_{}_exact_over_exhaustive_at_{}", rollouts, range_over_alpha)] =
        ratio(exact);
    json[fmt::format("sampled_{}_exact_reuse_over_exhaustive_at_{}", rollouts, range_over_alpha)] =
        ratio(exact_reused);
}

/// One setting changed at a time, exact race with reuse over exhaustive without.
void run_growth(const settings& options, nlohmann::json& json) {
    fmt::print("\n{:<12} {:>8} {:>12} {:>12} {:>10}   exact race + reuse, range/alpha 4\n",
               "what grows", "to", "exhaustive", "race+reuse", "ratio");
    const auto row = [&](const char* what, std::size_t value, const world& bigram) {
        const outcome all = bigram.run(tq::race_mode::exhaustive, false);
        const outcome both = bigram.run(tq::race_mode::exact, true);
        if (share_identical(all, both) < 1)
            throw tq::backend_error{"race_savings: the race chose other tokens"};
        const double ratio = both.tokens_per_token / all.tokens_per_token;
        fmt::print("{:<12} {:>8} {:>12.1f} {:>12.1f} {:>10.3f}\n", what, value,
                   all.tokens_per_token, both.tokens_per_token, ratio);
        json[fmt::format("ratio_{}_{}", what, value)] = ratio;
    };
    const world usual{.tokens = options.tokens,
                      .decode = {.alpha = 0.25, .top_k = options.top_k},
                      .rollout = {.horizon = options.horizon}};
    for (const std::size_t k : {2U, 4U, 8U, 16U, 32U}) {
        world bigram = usual;
        bigram.decode.top_k = k;
        row("top_k", k, bigram);
    }
    for (const std::size_t horizon : {4U, 16U, 64U, 256U}) {
        world bigram = usual;
        bigram.rollout.horizon = horizon;
        bigram.tokens = 64;
        row("horizon", horizon, bigram);
    }
    for (const std::size_t vocabulary : {16U, 64U, 256U, 1024U}) {
        world bigram = usual;
        bigram.vocabulary = vocabulary;
        row("vocabulary", vocabulary, bigram);
    }
    for (const std::size_t prompts : {1U, 4U, 16U, 64U}) {
        world bigram = usual;
        bigram.prompts = prompts;
        row("prompts", prompts, bigram);
    }
}

void run_real(const settings& options, const std::vector<double>& strengths, nlohmann::json& json) {
    const llama::model_file file{demo_defaults::model()};
    const llama::language_model_options context{
        .context = 8192, .max_sequences = 64, .threads = demo_defaults::threads()};
    llama::language_model_options aligned = context;
    aligned.lora = demo_defaults::baseline_lora();
    llama::language_model policy{file, context}, baseline{file, aligned};
    llama::reward_head reward{file, demo_defaults::reward_head(), context};
    std::ifstream stream{demo_defaults::prompts()};
    std::vector<tq::token_list> prompts;
    for (std::string line; prompts.size() < options.prompts && std::getline(stream, line);)
        prompts.push_back(
            file.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>()));
    const auto cost = [&] {
        return policy.tokens_decoded() + baseline.tokens_decoded() + reward.tokens_decoded();
    };
    for (const double range_over_alpha : strengths)
        compare("model", range_over_alpha, json, false, [&](tq::race_mode race, bool reuse) {
            policy.clear_cache();
            baseline.clear_cache();
            reward.clear_cache();
            tq::direct_transfer q{baseline, reward, {.horizon = options.horizon, .reuse = reuse}};
            tq::decoder decoder{
                policy, q, {.alpha = 1 / range_over_alpha, .top_k = options.top_k, .race = race}};
            return decode(decoder, prompts, options.tokens, cost);
        });
}

void run(const settings& options) {
    fmt::print("{:<8} {:>12} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10}\n", "world", "range/alpha",
               "exhaustive", "+ reuse", "exact race", "race+reuse", "ratio", "identical");
    nlohmann::json json{{"identical_tokens", 1.0},    {"bigram_identical_tokens", 1.0},
                        {"prompts", options.prompts}, {"tokens", options.tokens},
                        {"top_k", options.top_k},     {"horizon", options.horizon}};
    const std::vector<double> strengths{1, 2, 4, 8};
    for (const double strength : strengths) run_bigram(options, strength, json);
    if (options.real) run_real(options, strengths, json);
    fmt::print("\n{:>8} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}   {}\n", "rollouts",
               "range/alpha", "exhaustive", "exact", "confident", "reuse", "exact+reuse",
               "conf.+reuse", "sampled rollouts; ratios to exhaustive, reuse in scenarios");
    for (const std::size_t rollouts : {4U, 16U, 64U, 256U})
        for (const double strength : {2.0, 8.0}) run_sampled(options, rollouts, strength, json);
    run_growth(options, json);
    fmt::print("\n{}\n", json.dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    bool quick = false;
    CLI::App app{"Model tokens per emitted token, with and without race and reuse"};
    app.add_flag("--quick", quick, "2 prompts, 8 tokens on the real model");
    app.add_option("--prompts", options.prompts, "on the real model")->capture_default_str();
    app.add_option("--tokens", options.tokens, "per answer")->capture_default_str();
    app.add_option("--top-k", options.top_k)->capture_default_str();
    app.add_option("--horizon", options.horizon)->capture_default_str();
    app.add_flag("!--no-model", options.real, "the bigram world alone");
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        options.prompts = 2;
        options.tokens = 8;
    }
    try {
        run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "race_savings: {}\n", error.what());
        return 1;
    }
}
