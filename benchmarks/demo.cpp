// demo: does reward rise on a real model? Plain model, baseline and TQ* over held-out prompts.
//
// Every method decodes the same prompts with the same seeds. Sampled methods are averaged over
// several seeds per prompt; the default TQ* (greedy rollouts, argmax) has no randomness. Final
// answers are scored once more by a reward that has seen nothing else, one at a time: a score that
// depended on caches or batches would show, as differences not far below those between answers.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/evaluate/evaluate.hpp>
#include <tq/ext/json/json.hpp>
#include <tq/tq.hpp>

#include "../examples/programs/support/defaults.hpp"

namespace {

namespace llama = tq::llama_cpp;

struct settings {
    bool quick = false, tq_only = false;
    std::string prompts = demo_defaults::prompts(), lora = demo_defaults::baseline_lora();
    std::size_t limit = 30, tokens = 32, together = 8, seeds = 4;
    tq::decode_options decode = demo_defaults::decoding();
    tq::rollout_options rollout = {};
    std::string anchor = "baseline", select = "argmax", race = "exact";
};

/// One method's results.
struct outcome {
    std::vector<double> reward, kl;  // [prompts], means over the seeds
    double seconds = 0;
    std::size_t tokens = 0, model_tokens = 0;
};

struct bench {
    explicit bench(const settings& chosen)
        : options{chosen},
          file{demo_defaults::model()},
          policy{file, context({})},
          baseline{file, context(options.lora)},
          reward{file, demo_defaults::reward_head(), context({})},
          fresh_reward{file, demo_defaults::reward_head(), {.threads = demo_defaults::threads()}} {
        std::ifstream stream{options.prompts};
        for (std::string line; prompts.size() < options.limit && std::getline(stream, line);)
            prompts.push_back(
                file.chat_prompt(nlohmann::json::parse(line)["prompt"].get<std::string>()));
        if (prompts.size() < options.limit)
            throw tq::invalid_option{fmt::format("demo: {} has only {} prompts, {} are wanted",
                                                 options.prompts, prompts.size(), options.limit)};
    }

    [[nodiscard]] llama::language_model_options context(const std::string& lora) const {
        return {.lora = lora,
                .context = 16384,
                .max_sequences = 128,
                .threads = demo_defaults::threads()};
    }

    [[nodiscard]] std::size_t tokens_decoded() const {
        return policy.tokens_decoded() + baseline.tokens_decoded() + reward.tokens_decoded();
    }

    /// Decodes all prompts `seeds` times; make(seed) gives the decoder.
    template <class Make>
    outcome run(const char* name, std::size_t seeds, Make make) {
        outcome result{.reward = std::vector<double>(prompts.size()),
                       .kl = std::vector<double>(prompts.size())};
        policy.clear_cache();  // no method profits from what another has decoded
        baseline.clear_cache();
        reward.clear_cache();
        const std::size_t before = tokens_decoded();
        const auto start = std::chrono::steady_clock::now();
        for (std::size_t seed = 0; seed < seeds; ++seed) {
            auto decode = make(seed);
            for (std::size_t first = 0; first < prompts.size(); first += options.together) {
                fmt::print(stderr, "\r\033[K{}: seed {}/{}, prompt {}/{}", name, seed + 1, seeds,
                           first + 1, prompts.size());
                decode_group(decode, first, 1.0 / static_cast<double>(seeds), result);
            }
        }
        result.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        result.model_tokens = tokens_decoded() - before;
        fmt::print(stderr, "\r\033[K");
        return result;
    }

    template <class Decoder>
    void decode_group(Decoder& decode, std::size_t first, double weight, outcome& result) {
        const auto group =
            std::span{prompts}.subspan(first, std::min(options.together, prompts.size() - first));
        auto answers = decode.generate_all(group, options.tokens, first);
        while (!answers.advance().empty()) {
        }
        for (std::size_t i = 0; i < answers.size(); ++i) {
            result.reward[first + i] += weight * checked_reward(answers, i);
            result.kl[first + i] += weight * answers.kl(i);
            result.tokens += answers.answer(i).size();
        }
    }

    /// The reward of a finished answer, checked.
    template <class Generation>
    double checked_reward(const Generation& answers, std::size_t i) {
        const tq::answer_view answer{answers.prompt(i), answers.answer(i), answers.finished(i)};
        double value = 0, again = 0;
        tq::score_answers(reward, {&answer, 1}, {&value, 1});
        tq::score_answers(fresh_reward, {&answer, 1}, {&again, 1});
        scores.push_back(value);
        rescored.push_back(again);
        if (answer.answer.size() > options.tokens)
            throw tq::backend_error{"demo: an answer is longer than its limit"};
        return value;
    }

    /// Throws backend_error if scores depend on caches or batches by more than float noise: by
    /// half of what they differ by from their mean.
    void check_scores() const {
        const double mean = tq::mean_estimate(scores).q;
        double changed = 0, spread = 0;
        for (std::size_t i = 0; i < scores.size(); ++i) {
            changed += std::abs(scores[i] - rescored[i]);
            spread += std::abs(scores[i] - mean);
        }
        if (!(changed < spread / 2))
            throw tq::backend_error{
                fmt::format("demo: scores of answers are {:.3f} from those alone, {:.3f} from "
                            "their mean",
                            changed / static_cast<double>(scores.size()),
                            spread / static_cast<double>(scores.size()))};
    }

    const settings& options;
    llama::model_file file;
    llama::language_model policy, baseline;
    llama::reward_head reward, fresh_reward;
    std::vector<tq::token_list> prompts;
    std::vector<double> scores, rescored;  // of all answers: in the batch, and alone
};

void print_row(const char* name, const outcome& result, const outcome& tq_result) {
    const tq::value_estimate reward = tq::mean_estimate(result.reward);
    const tq::value_estimate kl = tq::mean_estimate(result.kl);
    const tq::paired_difference gain = tq::compare_paired(tq_result.reward, result.reward);
    const auto tokens = static_cast<double>(result.tokens);
    const std::string divergence =
        std::isnan(kl.q) ? "-" : fmt::format("{:.1f} +- {:.1f}", kl.q, kl.standard_error);
    fmt::print("{:<18} {:.3f} +- {:.3f}   {:>13} {:>9.1f} {:>16.1f}", name, reward.q,
               reward.standard_error, divergence, tokens / result.seconds,
               static_cast<double>(result.model_tokens) / tokens);
    if (&result == &tq_result)
        fmt::print("\n");
    else
        fmt::print("   {:+.3f} +- {:.3f} (z {:.1f})\n", gain.mean, gain.standard_error, gain.z());
}

void add(nlohmann::json& json, const std::string& name, const outcome& result) {
    const tq::value_estimate reward = tq::mean_estimate(result.reward);
    json["reward_" + name] = reward.q;
    json["se_reward_" + name] = reward.standard_error;
    json["kl_" + name] = tq::mean_estimate(result.kl).q;
    json["tokens_per_s_" + name] = static_cast<double>(result.tokens) / result.seconds;
    json["model_tokens_per_token_" + name] =
        static_cast<double>(result.model_tokens) / static_cast<double>(result.tokens);
}

void print_header(const settings& options) {
    fmt::print(
        "{} prompts of {}, up to {} tokens, {} seed(s) for what is sampled\n"
        "TQ*: alpha {}, top_k {}, horizon {}, {} rollout(s) at temperature {}, {} of the "
        "{}-anchored tilt\n\n"
        "{:<18} {:<16} {:<14} {:>8} {:>16}   {}\n",
        options.limit, options.prompts.substr(options.prompts.rfind('/') + 1), options.tokens,
        options.seeds, options.decode.alpha, options.decode.top_k, options.rollout.horizon,
        options.rollout.rollouts, options.rollout.sampling.temperature, options.select,
        options.anchor, "method", "reward", "  KL, nats", "tokens/s", "model tok./tok.",
        "TQ* minus it");
}

void run(const settings& options) {
    bench bench{options};
    const bool random =
        options.decode.select == tq::selection::sample || !options.rollout.sampling.greedy();
    tq::direct_transfer q{bench.baseline, bench.reward, options.rollout};
    const outcome steered = bench.run("TQ*", random ? options.seeds : 1, [&](std::size_t seed) {
        tq::decode_options decode = options.decode;
        decode.seed = seed;
        return tq::decoder{bench.policy, q,
                           options.anchor == "policy" ? bench.policy : bench.baseline, decode};
    });

    nlohmann::json json{{"prompts", bench.prompts.size()},
                        {"seeds", options.seeds},
                        {"decode", options.decode},
                        {"rollout", options.rollout},
                        {"anchor", options.anchor}};
    print_header(options);
    // All methods are the same decoder; the frozen ones have no action value.
    const auto frozen = [&](const char* label, const std::string& key,
                            llama::language_model& anchor, tq::selection select) {
        const bool sampled = select == tq::selection::sample;
        tq::decode_options decode = options.decode;
        decode.select = select;
        decode.top_k = sampled ? tq::whole_vocabulary : 1;
        decode.race = tq::race_mode::exhaustive;
        decode.token_budget = std::numeric_limits<double>::infinity();
        const auto make = [&](std::size_t seed) {
            decode.seed = seed;
            return tq::decoder{bench.policy, tq::zero_value{}, anchor, decode};
        };
        const outcome result = bench.run(label, sampled ? options.seeds : 1, make);
        print_row(label, result, steered);
        add(json, key, result);
        json["z_tq_over_" + key] = tq::compare_paired(steered.reward, result.reward).z();
    };
    // The rival to beat: best-of-n, n answers of a model and the reward's favourite among them.
    const auto best_of = [&](const char* label, const std::string& key,
                             llama::language_model& proposer) {
        const auto make = [&](std::size_t seed) {
            return tq::block_decoder{proposer,
                                     q,
                                     {.block = tq::whole_answer,
                                      .candidates = 8,
                                      .select = tq::selection::argmax,
                                      .seed = seed}};
        };
        outcome result = bench.run(label, 1, make);
        for (double& kl : result.kl) kl = std::nan("");  // from the policy: not known
        print_row(label, result, steered);
        add(json, key, result);
        json["z_tq_over_" + key] = tq::compare_paired(steered.reward, result.reward).z();
    };
    if (!options.tq_only) {
        frozen("plain, sampled", "plain", bench.policy, tq::selection::sample);
        frozen("plain, greedy", "plain_greedy", bench.policy, tq::selection::argmax);
        frozen("baseline, sampled", "baseline", bench.baseline, tq::selection::sample);
        frozen("baseline, greedy", "baseline_greedy", bench.baseline, tq::selection::argmax);
        best_of("best of 8, plain", "best_of_8_plain", bench.policy);
        best_of("best of 8, basel.", "best_of_8_baseline", bench.baseline);
    }
    print_row("TQ*", steered, steered);
    add(json, "tq", steered);
    bench.check_scores();
    fmt::print("\n{}\n", json.dump());
}

settings read_settings(int argc, char** argv) {
    settings options;
    CLI::App app{"Plain model, baseline and TQ* over held-out prompts"};
    app.add_flag("--quick", options.quick, "8 prompts, 12 tokens, 1 seed");
    app.add_option("--prompts", options.prompts, "JSON lines with \"prompt\"")
        ->capture_default_str();
    app.add_option("--limit", options.limit, "how many of them")->capture_default_str();
    app.add_option("--tokens", options.tokens, "answer length")->capture_default_str();
    app.add_option("--together", options.together, "prompts decoded together")
        ->capture_default_str();
    app.add_option("--seeds", options.seeds, "samples per prompt")->capture_default_str();
    app.add_option("--lora", options.lora, "baseline adapter")->capture_default_str();
    app.add_option("--alpha", options.decode.alpha)->capture_default_str();
    app.add_option("--top-k", options.decode.top_k)->capture_default_str();
    app.add_option("--horizon", options.rollout.horizon)->capture_default_str();
    app.add_option("--rollouts", options.rollout.rollouts)->capture_default_str();
    app.add_option("--rollout-temperature", options.rollout.sampling.temperature)
        ->capture_default_str();
    app.add_option("--anchor", options.anchor)
        ->check(CLI::IsMember({"policy", "baseline"}))
        ->capture_default_str();
    app.add_option("--select", options.select)
        ->check(CLI::IsMember({"argmax", "sample"}))
        ->capture_default_str();
    app.add_option("--race", options.race)
        ->check(CLI::IsMember({"exhaustive", "exact", "confident"}))
        ->capture_default_str();
    app.add_option("--token-budget", options.decode.token_budget)->capture_default_str();
    app.add_option("--budget-front", options.decode.budget_front)->capture_default_str();
    app.add_flag("--widen", options.decode.widen);
    app.add_flag("--tq-only", options.tq_only, "leave out the other methods (for tuning)");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error));
    }
    options.decode.select =
        options.select == "argmax" ? tq::selection::argmax : tq::selection::sample;
    options.decode.race = nlohmann::json(options.race).get<tq::race_mode>();
    if (options.quick) {
        options.limit = std::min<std::size_t>(options.limit, 8);
        options.tokens = 12;
        options.seeds = 1;
    }
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        run(read_settings(argc, argv));
    } catch (const std::exception& error) {
        fmt::print(stderr, "demo: {}\n", error.what());
        return 1;
    }
}
