// generate: the plain model, an aligned baseline and Transfer Q* side by side.

#include <chrono>
#include <cstdio>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include <fmt/format.h>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/rewards/combined.hpp>
#include <tq/tq.hpp>

#include "../support/interrupt.hpp"
#include "../support/timed.hpp"
#include "arguments.hpp"
#include "report.hpp"
#include "rewards.hpp"
#include "transfer.hpp"

namespace {

namespace llama = tq::llama_cpp;

/// A template for prompts with its {prompt} and \n filled in.
std::string filled_in(const std::string& pattern, const std::string& prompt) {
    std::string text;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const std::string_view rest = std::string_view{pattern}.substr(i);
        if (rest.starts_with("{prompt}"))
            text += prompt, i += 7;
        else if (rest.starts_with("\\n"))
            text += '\n', ++i;
        else
            text += pattern[i];
    }
    return text;
}

/// Everything that is loaded: one set of weights where the files are the same.
struct models {
    explicit models(const arguments& args)
        : policy_model{args.model},
          baseline_model{args.baseline_model.empty() ? policy_model
                                                     : llama::model_file{args.baseline_model}},
          policy_engine{policy_model, {.threads = args.threads}},
          baseline_engine{baseline_model,
                          {.lora = args.lora,
                           .lora_scale = static_cast<float>(args.lora_scale),
                           .threads = args.threads}},
          rewards{args, policy_model} {
        if (llama::same_vocabulary(policy_model, baseline_model)) return;
        if (args.anchor == anchor::baseline)
            throw tq::invalid_option{
                "--anchor baseline: only the policy can be the anchor of a baseline with another "
                "tokenizer"};
        if (args.transfer != transfer::direct || args.policy_share != 0)
            throw tq::invalid_option{
                "--transfer, --policy-share: a baseline with another tokenizer serves direct "
                "transfer "
                "alone, since it has no log-probabilities"};
        text_baseline.emplace(policy_model, baseline);
    }
    models(const models&) = delete;  // parts refer to each other
    models& operator=(const models&) = delete;
    ~models() = default;

    /// What the baseline sees in the place of a prompt.
    [[nodiscard]] tq::token_list baseline_prompt(const arguments& args,
                                                 const std::string& prompt) const {
        if (!args.baseline_prompt.empty())
            return baseline_model.tokenize(filled_in(args.baseline_prompt, prompt),
                                           {.add_special = true, .parse_special = true});
        try {
            return baseline_model.chat_prompt(
                prompt, args.baseline_system.empty() ? args.system : args.baseline_system);
        } catch (const tq::invalid_option& error) {
            throw tq::invalid_option{std::string{error.what()} +
                                     "; give --baseline-prompt, \"{prompt}\\n\" say"};
        }
    }

    /// Reads the weights in, so that the first answer is not timed with the disk.
    void warm_up() {
        const tq::token_list token{0};
        const tq::token_view view{token};
        std::ignore = policy.next_logits({&view, 1});
        std::ignore = baseline.next_logits({&view, 1});
        const tq::answer_view answer{view, {}, false};
        double value = 0;
        reward.score({&answer, 1}, {&value, 1});
    }

    /// What was spent in each model so far.
    [[nodiscard]] usage spent() const {
        usage result;
        result.policy = spent_in(policy);
        result.baseline = spent_in(baseline);
        result.reward = spent_in(reward);
        return result;
    }

    llama::model_file policy_model, baseline_model;
    llama::language_model policy_engine, baseline_engine;
    reward_set rewards;
    timed<llama::language_model> policy{policy_engine}, baseline{baseline_engine};
    timed<reward_set> reward{rewards};
    std::optional<llama::text_baseline<timed<llama::language_model>&>>
        text_baseline;  // if it has another vocabulary

private:
    template <class Model>
    static usage::part spent_in(const timed<Model>& part) {
        return {part.seconds, part.model.tokens_decoded(), part.model.decodes()};
    }
};

/// Fills in what an answer is and what it earns.
void judge(models& models, const tq::answer_view& whole, answer& result) {
    result.text = models.policy_model.detokenize(whole.answer);
    result.tokens = whole.answer.size();
    result.finished = whole.finished;
    tq::weighted_sum& sum = models.rewards.sum();
    result.terms.resize(sum.terms().size());
    sum.score_terms({&whole, 1}, result.terms);
    result.reward = sum.combine(result.terms);
}

/// Decodes one answer, streaming it to the report.
template <class Decoder>
void decode_one(models& models, Decoder& decode, const tq::token_list& prompt,
                std::size_t prompt_index, method method, const arguments& args, report& report,
                const tq::rollout_stats& value_stats) {
    report.begin_answer(method);
    const usage before = models.spent();
    const auto start = std::chrono::steady_clock::now();
    llama::utf8_stream text{models.policy_model};
    answer result{.prompt = prompt_index, .method = method};
    auto stream = decode.generate(prompt, args.tokens, prompt_index);
    usage look_ahead;
    for (const tq::step& step : stream) {
        if (method == method::tq) {
            ++look_ahead.races[step.race.mode];
            look_ahead.unseen += step.race.rollouts == 0;
            std::vector<std::string> candidates;
            for (const tq::token_id token : step.distribution.tokens)
                candidates.push_back(models.policy_model.piece(token));
            report.trace(step, prompt_index, candidates);
        }
        if (!step.ends) report.piece(text.push(step.token));
        interrupt::check();
    }
    report.piece(text.finish());
    if (method == method::tq && prompt_index == 0)
        for (const std::string& note : stream.notes()) fmt::print(stderr, "note: {}\n", note);
    result.seconds = seconds_since(start);
    result.spent = models.spent() - before;
    result.spent.races = look_ahead.races;
    result.spent.unseen = look_ahead.unseen;
    result.spent.kernel_seconds = decode.kernel_seconds() + value_stats.draw_seconds;
    result.spent.rollouts = value_stats;
    result.kl = stream.kl();
    result.weights = stream.weights();
    judge(models, {prompt, stream.answer(), stream.finished()}, result);
    report.end_answer(result);
}

/// The answer of a baseline with another vocabulary; its divergence from the policy is not known.
void write_text(models& models, const tq::token_list& prompt, std::size_t prompt_index,
                const arguments& args, report& report) {
    report.begin_answer(method::baseline);
    const usage before = models.spent();
    const auto start = std::chrono::steady_clock::now();
    answer result{.prompt = prompt_index, .method = method::baseline};
    const tq::rollout_request request{
        .sequence = prompt,
        .max_tokens = args.tokens,
        .end_tokens = models.policy_model.end_tokens(),
        .key = tq::random_key{args.decode.seed}.fold_in(prompt_index)};
    const bool greedy = args.others_select == tq::selection::argmax;
    const auto written = models.text_baseline->complete(
        {&request, 1}, {.temperature = greedy ? 0 : args.decode.temperature});
    result.seconds = seconds_since(start);
    result.spent = models.spent() - before;
    result.kl = std::numeric_limits<double>::quiet_NaN();
    judge(models, {prompt, written[0].tokens(), written[0].finished}, result);
    report.piece(result.text);
    report.end_answer(result);
}

/// The decodings of one prompt: all are the same decoder with other parts.
void decode_all(models& models, const arguments& args, const tq::token_list& prompt,
                std::size_t index, report& report) {
    tq::decode_options frozen = args.decode;
    frozen.select = args.others_select;
    frozen.alpha_rule = {};
    frozen.race = tq::race_mode::exhaustive;
    frozen.token_budget = std::numeric_limits<double>::infinity();
    frozen.top_k = frozen.select == tq::selection::argmax ? 1 : tq::whole_vocabulary;
    tq::zero_value none;
    const auto run = [&](method method, auto&& value, timed<llama::language_model>& anchor,
                         const tq::decode_options& options, const tq::rollout_stats& stats) {
        tq::decoder decode{models.policy, value, anchor, options};
        decode_one(models, decode, prompt, index, method, args, report, stats);
    };
    for (const method method : args.methods) switch (method) {
            case method::plain:
                run(method, none, models.policy, frozen, {});
                break;
            case method::baseline:
                if (models.text_baseline) {
                    write_text(models, prompt, index, args, report);
                    break;
                }
                run(method, none, models.baseline, frozen, {});
                break;
            case method::tq: {
                const auto tilt = [&](auto& q, const tq::rollout_stats& stats) {
                    auto& anchor = args.anchor == anchor::policy ? models.policy : models.baseline;
                    run(method, q, anchor, args.decode, stats);
                };
                if (models.text_baseline) {
                    tq::direct_transfer q{*models.text_baseline, models.reward, args.rollout};
                    tilt(q, q.stats());
                } else {
                    with_value(models.policy, models.baseline, models.reward, args, tilt);
                }
            }
        }
}

void run(arguments args) {
    const std::vector<std::string> prompts = read_prompts(args);
    models models{args};
    if (args.anchor == anchor::automatic)
        args.anchor = models.text_baseline ? anchor::policy : anchor::baseline;
    std::vector<std::string> rewards;
    for (const tq::reward_term& term : models.rewards.sum().terms()) rewards.push_back(term.name());
    report report{args, prompts, rewards};
    models.warm_up();
    const auto decode_prompt = [&](std::size_t i) {
        const tq::token_list prompt = models.policy_model.chat_prompt(prompts[i], args.system);
        report.begin_prompt(i);
        if (models.text_baseline) {
            models.text_baseline->clear_prompts();
            models.text_baseline->add_prompt(prompt, models.baseline_prompt(args, prompts[i]));
        } else if (!args.baseline_system.empty() || !args.baseline_prompt.empty()) {
            models.baseline_engine.set_prompt_override(
                {.replaces = prompt, .with = models.baseline_prompt(args, prompts[i])});
        }
        decode_all(models, args, prompt, i, report);
    };
    try {
        const interrupt::noted_signals noted;
        for (std::size_t i = 0; i < prompts.size(); ++i) decode_prompt(i);
    } catch (const interrupt::stopped&) {
        report.summary();  // of the answers that are whole
        throw;
    }
    report.summary();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        run(read_arguments(argc, argv));
    } catch (const interrupt::stopped& stopped) {
        fmt::print(stderr, "\ngenerate: {}\n", stopped.what());
        return stopped.exit_code();
    } catch (const tq::invalid_option& error) {
        fmt::print(stderr, "generate: {}\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "generate: {}\n", error.what());
        return 1;
    }
}
