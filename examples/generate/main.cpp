// generate: the plain model, an aligned baseline and Transfer Q* side by side.

#include <chrono>
#include <cstdio>
#include <exception>
#include <tuple>

#include <fmt/format.h>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>

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
                                                     : llama::model{args.baseline_model}},
          policy_engine{policy_model, {.threads = args.threads}},
          baseline_engine{baseline_model,
                          {.lora = args.lora,
                           .lora_scale = static_cast<float>(args.lora_scale),
                           .threads = args.threads}},
          rewards{args, policy_model} {
        if (!llama::same_vocabulary(policy_model, baseline_model))
            throw tq::invalid_option{
                "--baseline-model: its vocabulary differs from the policy's; "
                "both must share one tokenizer for now"};
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

    llama::model policy_model, baseline_model;
    llama::language_model policy_engine, baseline_engine;
    reward_set rewards;
    timed<llama::language_model> policy{policy_engine}, baseline{baseline_engine};
    timed<reward_set> reward{rewards};

private:
    template <class Model>
    static usage::part spent_in(const timed<Model>& part) {
        return {part.seconds, part.model.tokens_decoded(), part.model.decodes()};
    }
};

/// Decodes one answer, streaming it to the report.
template <class Decoder>
answer decode_one(models& models, Decoder& decode, const tq::token_list& prompt,
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
    }
    report.piece(text.finish());
    result.seconds = seconds_since(start);
    result.spent = models.spent() - before;
    result.spent.races = look_ahead.races;
    result.spent.unseen = look_ahead.unseen;
    result.spent.kernel_seconds = decode.kernel_seconds() + value_stats.draw_seconds;
    result.spent.rollouts = value_stats;
    result.text = models.policy_model.detokenize(stream.answer());
    result.tokens = stream.answer().size();
    result.finished = stream.finished();
    result.kl = stream.kl();
    result.weights = stream.weights();
    const tq::answer_view whole{prompt, stream.answer(), stream.finished()};
    tq::weighted_sum& sum = models.rewards.sum();
    result.terms.resize(sum.terms().size());
    sum.score_terms({&whole, 1}, result.terms);
    result.reward = sum.combine(result.terms);
    report.end_answer(result);
    return result;
}

/// The decodings of one prompt: all are the same decoder with other parts.
void decode_all(models& models, const arguments& args, const tq::token_list& prompt,
                std::size_t index, report& report) {
    tq::decode_options frozen = args.decode;
    frozen.select = args.others_select;
    frozen.alpha_rule = {};
    frozen.shrink = false;
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
                run(method, none, models.baseline, frozen, {});
                break;
            case method::tq:
                with_value(models.policy, models.baseline, models.reward, args,
                           [&](auto& q, const tq::rollout_stats& stats) {
                               auto& anchor =
                                   args.anchor == anchor::policy ? models.policy : models.baseline;
                               run(method, q, anchor, args.decode, stats);
                           });
        }
}

void run(const arguments& args) {
    const std::vector<std::string> prompts = read_prompts(args);
    models models{args};
    std::vector<std::string> rewards;
    for (const tq::reward_term& term : models.rewards.sum().terms()) rewards.push_back(term.name());
    report report{args, prompts, rewards};
    models.warm_up();
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const tq::token_list prompt = models.policy_model.chat_prompt(prompts[i], args.system);
        if (!args.baseline_system.empty())
            models.baseline_engine.set_prompt_override(
                {.replaces = prompt,
                 .with = models.baseline_model.chat_prompt(prompts[i], args.baseline_system)});
        report.begin_prompt(i);
        decode_all(models, args, prompt, i, report);
    }
    report.summary();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        run(read_arguments(argc, argv));
    } catch (const tq::invalid_option& error) {
        fmt::print(stderr, "generate: {}\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "generate: {}\n", error.what());
        return 1;
    }
}
