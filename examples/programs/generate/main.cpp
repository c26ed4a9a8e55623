// generate: the plain model, an aligned baseline and Transfer Q* side by side.

#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <tuple>

#include <fmt/format.h>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/rewards/combined.hpp>
#include <tq/tq.hpp>

#include "../support/chat.hpp"
#include "../support/interrupt.hpp"
#include "../support/program.hpp"
#include "../support/timed.hpp"
#include "arguments.hpp"
#include "report.hpp"
#include "rewards.hpp"
#include "transfer.hpp"

namespace {

namespace llama = tq::llama_cpp;

/// Everything that is loaded: one set of weights where the files are the same.
struct models {
    explicit models(const arguments& args)
        : policy_model{args.model},
          baseline_model{args.baseline_model.empty() ? policy_model
                                                     : llama::model_file{args.baseline_model}},
          policy_engine{policy_model, {.context = args.context, .threads = args.threads}},
          baseline_engine{baseline_model,
                          {.lora = args.lora,
                           .lora_scale = static_cast<float>(args.lora_scale),
                           .context = args.context,
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

    /// What each model sees in the place of a prompt. Throws invalid_option if that is too long.
    struct prompt_tokens {
        tq::token_list policy = {}, baseline = {}, reward = {};
    };
    [[nodiscard]] prompt_tokens tokens_of(const arguments& args, const prompts::prompt& prompt,
                                          std::size_t number) const {
        const chat::setting set{.system = args.system, .format = args.prompt_format};
        chat::setting baselines = set;
        baselines.option = "--baseline-prompt";
        if (!args.baseline_system.empty()) {
            baselines.system = args.baseline_system;
            baselines.always = true;
        }
        if (!args.baseline_prompt.empty()) baselines.format = args.baseline_prompt;
        const auto beside = [&](const llama::model_file& model, const chat::setting& its) {
            return args.baseline_prompt.empty() || &model != &baseline_model
                       ? chat::tokens_beside(model, prompt, its)
                       : chat::tokens_of(model, prompt, its);
        };
        prompt_tokens result{.policy = chat::tokens_of(policy_model, prompt, set)};
        result.baseline = text_baseline ? beside(baseline_model, baselines)
                                        : chat::tokens_of(baseline_model, prompt, baselines);
        if (rewards.asks_prompts()) result.reward = beside(rewards.trunk(), set);
        for (const tq::token_list* tokens : {&result.policy, &result.baseline, &result.reward})
            chat::check_length(tokens->size(), number, args.tokens, args.context, "--context");
        return result;
    }

    /// Reads the weights in, so that the first answer is not timed with the disk.
    void warm_up() {
        const tq::token_list token{0};
        const tq::token_view view{token};
        std::ignore = policy.next_logits({&view, 1});
        std::ignore = baseline.next_logits({&view, 1});
        if (rewards.asks_prompts()) rewards.set_prompt(token, token);
        const tq::answer_view answer{view, {}, false};
        double value = 0;
        reward.score({&answer, 1}, {&value, 1});
    }

    /// Every method is measured from the prompt on, whatever others have read before it.
    void forget() {
        policy_engine.clear_cache();
        baseline_engine.clear_cache();
        rewards.clear_caches();
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
        for (const std::string& note : stream.notes()) program::say("note: " + note);
    result.seconds = seconds_since(start);
    result.spent = models.spent() - before;
    result.spent.races = look_ahead.races;
    result.spent.unseen = look_ahead.unseen;
    result.spent.kernel_seconds = decode.kernel_seconds() + value_stats.draw_seconds;
    result.spent.rollouts = value_stats;
    result.kl = stream.kl();
    result.tilt_kl = stream.tilt_kl();
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
    for (const method method : args.methods) {
        models.forget();
        switch (method) {
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
}

void run(arguments args) {
    const std::vector<prompts::prompt> prompts = read_prompts(args);
    models models{args};
    if (args.anchor == anchor::automatic)
        args.anchor = models.text_baseline ? anchor::policy : anchor::baseline;
    std::vector<std::string> rewards;
    for (const tq::reward_term& term : models.rewards.sum().terms()) rewards.push_back(term.name());
    std::vector<std::string> texts;
    std::vector<models::prompt_tokens> tokens;
    for (std::size_t i = 0; i < prompts.size(); ++i) try {
            tokens.push_back(models.tokens_of(args, prompts[i], i + 1));
            texts.push_back(prompts[i].text());
        } catch (
            const chat::too_long& error) {  // said before anything is decoded; the others go on
            program::say(std::string{"generate: "} + error.what());
        }
    const std::size_t left_out = prompts.size() - tokens.size();
    if (tokens.empty()) throw tq::invalid_option{"all prompts are too long"};
    report report{args, texts, rewards};
    models.warm_up();
    const auto decode_prompt = [&](std::size_t i) {
        const tq::token_list& prompt = tokens[i].policy;
        report.begin_prompt(i);
        if (models.rewards.asks_prompts()) models.rewards.set_prompt(prompt, tokens[i].reward);
        if (models.text_baseline) {
            models.text_baseline->clear_prompts();
            models.text_baseline->add_prompt(prompt, tokens[i].baseline);
        } else {
            models.baseline_engine.clear_prompt_overrides();
            if (tokens[i].baseline != prompt)
                models.baseline_engine.add_prompt_override(
                    {.replaces = prompt, .with = tokens[i].baseline});
        }
        decode_all(models, args, prompt, i, report);
    };
    try {
        const interrupt::noted_signals noted;
        for (std::size_t i = 0; i < tokens.size(); ++i) decode_prompt(i);
    } catch (const interrupt::stopped&) {
        report.summary();  // of the answers that are whole
        throw;
    }
    report.summary();
    program::flush_output();
    if (left_out > 0)
        throw tq::invalid_option{
            fmt::format("{} of {} prompts were too long and left out", left_out, prompts.size())};
}

}  // namespace

int main(int argc, char** argv) {
    return program::run("generate", "", [&] { run(read_arguments(argc, argv)); });
}
