#include "arguments.hpp"

#include <limits>
#include <map>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <tq/decode/budget.hpp>

#include "../support/command_line.hpp"
#include "../support/defaults.hpp"
#include "../support/names.hpp"

namespace {

const std::map<std::string, method> method_names{
    {"plain", method::plain}, {"baseline", method::baseline}, {"tq", method::tq}};
const std::map<std::string, anchor> anchor_names{{"policy", anchor::policy},
                                                 {"baseline", anchor::baseline}};
const std::map<std::string, transfer> transfer_names{
    {"direct", transfer::direct}, {"indirect", transfer::indirect}, {"soft", transfer::soft}};

/// Adds options of a group whose values are words.
auto choices(CLI::App& app, const char* group) {
    return [&app, group](const char* name, auto& value, const auto& words, const char* help) {
        return command_line::add_choice(app, name, value, words, help)->group(group);
    };
}

void add_model_options(CLI::App& app, arguments& args) {
    app.add_option("--model", args.model, "GGUF file of the policy [the cached demo model]")
        ->group("Models");
    app.add_option("--baseline-model", args.baseline_model,
                   "GGUF file of the baseline [the policy's]; with another tokenizer its rollouts "
                   "travel as text, and the policy is the anchor")
        ->group("Models");
    app.add_option(
           "--lora", args.lora,
           "LoRA adapter (GGUF) that makes the baseline; of the demo's: valence, brevity or "
           "lexicon, what it was aligned to [valence]")
        ->group("Models");
    app.add_option("--lora-scale", args.lora_scale, "its strength; 0 = without it")
        ->capture_default_str()
        ->group("Models");
    app.add_option("--reward", args.rewards,
                   "linear reward head (safetensors), or brevity: short and plain; given several "
                   "times, their weighted sum is the reward")
        ->allow_extra_args(false)
        ->group("Models");
    app.add_option("--reward-weight", args.reward_weights,
                   "weight of each --reward, in order; negative = a penalty [1 each]")
        ->allow_extra_args(false)
        ->group("Models");
    app.add_option("--reward-model", args.reward_model, "GGUF file the heads read [the policy's]")
        ->group("Models");
    app.add_option("--threads", args.threads, "threads for the models; 0 = all cores")
        ->capture_default_str()
        ->group("Models");
    app.add_option(
           "--context", args.context,
           "tokens that each model's context holds: prompt and answer, and the rollouts beside it")
        ->capture_default_str()
        ->group("Models");
}

void add_prompt_options(CLI::App& app, arguments& args) {
    auto* prompt =
        app.add_option("-p,--prompt", args.prompts, "a prompt; may be given several times")
            ->group("Prompts");
    app.add_option(
           "-f,--prompts", args.prompt_file,
           "file of prompts, - for standard input: one a line, or JSON (lines or a list) with "
           "\"prompt\", \"messages\", \"conversations\", \"instruction\", \"question\" or "
           "HH-RLHF's \"chosen\"")
        ->excludes(prompt)
        ->group("Prompts");
    command_line::add_choice(
        app, "--prompts-format", args.prompts_format, prompts::formats,
        "how the file is read: text, json or [auto], by its name and beginning")
        ->group("Prompts");
    app.add_option("--limit", args.limit, "use the first N prompts of the file; 0 = all")
        ->capture_default_str()
        ->group("Prompts");
    app.add_option("--system", args.system, "system message of prompts that have none")
        ->group("Prompts");
    app.add_option(
           "--prompt-format", args.prompt_format,
           "all that the models see, \\n for a new line and {prompt} for the prompt [their chat "
           "templates]")
        ->group("Prompts");
    app.add_option("--baseline-system", args.baseline_system,
                   "system message that the baseline sees instead")
        ->group("Prompts");
    app.add_option("--baseline-prompt", args.baseline_prompt, "the same of the baseline alone")
        ->group("Prompts");
    app.add_option("-n,--tokens", args.tokens, "longest answer, in tokens")
        ->capture_default_str()
        ->check(CLI::PositiveNumber)
        ->group("Prompts");
}

/// For baselines that were aligned to something else.
void add_transfer_options(CLI::App& app, arguments& args) {
    const auto choose = choices(app, "Transfer");
    choose("--transfer", args.transfer, transfer_names,
           "[direct]: the mean reward of the rollouts; indirect: weighted by importance, for a "
           "baseline aligned to another reward; soft: the value of E[r] - beta KL itself. The last "
           "two roll out 8 samples of up to 16 tokens per candidate unless told otherwise");
    app.add_option("--beta", args.beta,
                   "of indirect and soft: strength of the KL term, in units of the reward; "
                   "alpha is the same for soft unless given")
        ->capture_default_str()
        ->group("Transfer");
    choose("--weighting", args.weights.form, names::weightings,
           "[self_normalised], plain, tempered, clipped, pareto_smoothed or unweighted");
    choose(
        "--on-collapse", args.weights.on_collapse, names::collapses,
        "when weights collapse onto a few rollouts: warn, [widen] the error, unweighted, refuse");
    app.add_option(
           "--policy-share", args.policy_share,
           "share of the rollouts that come from the policy instead of the baseline; [0, 1]")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1.0))
        ->group("Transfer");
}

/// Weighted rollouts must be samples, and several.
void adapt_to_transfer(const CLI::App& app, arguments& args) {
    if (args.transfer == transfer::direct) return;
    const auto given = [&](const char* name) { return app.count(name) > 0; };
    if (!given("--rollout-temperature")) args.rollout.sampling.temperature = 1;
    if (!given("--rollouts")) args.rollout.rollouts = 8;
    if (!given("--horizon")) args.rollout.horizon = 16;
    if (args.transfer == transfer::soft && !given("--alpha")) args.decode.alpha = args.beta;
}

void add_decoding_options(CLI::App& app, arguments& args) {
    const auto choose = choices(app, "Decoding");
    app.add_option("-a,--alpha", args.decode.alpha,
                   "strength of the tilt in units of the reward; (0, inf], inf = no tilt: draws of "
                   "the anchor, cut to --top-k")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("-k,--top-k", args.decode.top_k, "candidates per step; >= 1")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("--horizon", args.rollout.horizon,
                   "tokens of a rollout at most; 0 = judge the candidate as it stands")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("--rollouts", args.rollout.rollouts, "rollouts per candidate; >= 1")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("--rollout-temperature", args.rollout.sampling.temperature,
                   "temperature of the rollouts; 0 = greedy, 1 = the baseline as it is")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("--rollout-top-p", args.rollout.sampling.top_p,
                   "nucleus of the rollouts; (0, 1]")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("-t,--temperature", args.decode.temperature,
                   "temperature of the policy; 1 = as trained")
        ->capture_default_str()
        ->group("Decoding");
    choose(
        "--anchor", args.anchor, anchor_names,
        "which model is tilted: policy or baseline [baseline, if it has the policy's tokenizer]");
    choose("--race", args.decode.race, names::races,
           "exhaustive: every candidate's Q; [exact]: the same tokens without the rollouts that "
           "cannot change them; confident: for many sampled rollouts");
    app.add_flag("--widen", args.decode.widen,
                 "candidates are top-k draws of the prior; those that can win are raced")
        ->group("Decoding");
    app.add_option("--token-budget", args.decode.token_budget,
                   "model tokens of look-ahead per emitted token, on average; (0, inf]")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option(
           "--budget-front", args.decode.budget_front,
           "how early the budget may be used; 1 = evenly, 2 = half of it in the first quarter")
        ->capture_default_str()
        ->group("Decoding");
    app.add_option("--race-error", args.decode.race_error,
                   "of confident: probability, per step, that the best is dropped; (0, 1)")
        ->capture_default_str()
        ->group("Decoding");
    choose("--select", args.decode.select, names::selections, "how TQ* picks: [argmax] or sample");
    choose("--others-select", args.others_select, names::selections,
           "how plain and baseline pick: argmax or [sample]");
    app.add_option_function<std::vector<std::string>>(
           "--methods",
           [&args](const std::vector<std::string>& words) {
               args.methods.clear();
               for (const std::string& word : words)
                   args.methods.push_back(command_line::choice("--methods", word, method_names));
           },
           "what is shown, of plain, baseline, tq [all]")
        ->delimiter(',')
        ->group("Decoding");
    app.add_option("-s,--seed", args.decode.seed, "the same seed gives the same text")
        ->capture_default_str()
        ->group("Decoding");
}

void add_budget_options(CLI::App& app, arguments& args) {
    auto* step = app.add_option_function<double>(
        "--kl-per-step", [&](double nats) { args.decode.alpha_rule = tq::kl_per_step{nats}; },
        "choose alpha in every step so that TQ* is drawn this far from the anchor, in nats, the "
        "cut to --top-k counted; goes with --select sample");
    auto* whole = app.add_option_function<double>(
        "--kl-per-answer", [&](double nats) { args.decode.alpha_rule = tq::kl_per_answer{nats}; },
        "the same for a whole answer: each step gets an equal share of what is left");
    for (CLI::Option* option : {step, whole})
        option->check(CLI::NonNegativeNumber)
            ->group("Decoding")
            ->excludes(app.get_option("--alpha"));
    step->excludes(whole);
}

/// Budgets of divergence need draws.
void adapt_to_distribution(const CLI::App& app, arguments& args) {
    if (!args.decode.alpha_rule) return;
    if (app.count("--select") == 0) args.decode.select = tq::selection::sample;
    if (args.decode.select == tq::selection::argmax)
        throw tq::invalid_option{
            "--select: argmax strays as far as the mode does, whatever the divergence of the tilt; "
            "--kl-per-step and --kl-per-answer go with sample"};
}

/// A format as it is written on a command line, with \n for a new line. Refused without a {prompt}.
void read_format(const char* option, std::string& format) {
    if (format.empty()) return;
    for (auto at = format.find("\\n"); at != format.npos; at = format.find("\\n", at + 1))
        format.replace(at, 2, "\n");
    tq::check_option(format.find("{prompt}") != format.npos, "options", option, format,
                     "a text with {prompt} in it");
}

/// Fills in the demo: its model, baseline and reward, where the user named none.
void fill_defaults(arguments& args) {
    const bool demo = args.model.empty();
    if (demo) args.model = demo_defaults::model();
    if (args.rewards.empty()) {
        if (!demo) throw tq::invalid_option{"--reward is needed with --model: a head that fits it"};
        args.rewards.push_back(demo_defaults::reward_head());
    }
    if (!args.reward_weights.empty() && args.reward_weights.size() != args.rewards.size())
        throw tq::invalid_option{
            fmt::format("--reward-weight: {} of them for {} rewards; give one for each --reward",
                        args.reward_weights.size(), args.rewards.size())};
    const bool own_baseline = !args.baseline_model.empty() || !args.baseline_system.empty() ||
                              !args.baseline_prompt.empty();
    if (demo && args.lora.empty() && !own_baseline) args.lora = "valence";
    for (const char* name : {"valence", "brevity", "lexicon"})
        if (args.lora == name) args.lora = demo_defaults::baseline_lora(name);
    if (args.prompts.empty() && args.prompt_file.empty()) {
        args.prompt_file = demo_defaults::prompts();
        if (args.limit == 0) args.limit = 3;
    }
    if (args.threads == 0) args.threads = demo_defaults::threads();
    read_format("--prompt-format", args.prompt_format);
    read_format("--baseline-prompt", args.baseline_prompt);
}

}  // namespace

arguments read_arguments(int argc, char** argv) {
    arguments args;
    CLI::App app{
        "Aligns a language model while it decodes: the plain model, an aligned baseline and "
        "Transfer Q* side by side. Without arguments: a demo on the cached model."};
    app.set_version_flag("--version", "tq " TQSTAR_VERSION_STRING);
    add_model_options(app, args);
    add_prompt_options(app, args);
    add_decoding_options(app, args);
    add_budget_options(app, args);
    add_transfer_options(app, args);
    app.add_flag("--json", args.json, "print one JSON object per answer, then a summary")
        ->group("Output");
    app.add_flag("--profile", args.profile, "also say where the time of TQ* went")->group("Output");
    app.add_option("--trace", args.trace,
                   "write the candidates of every TQ* step (log pi, Q, error, log p) as JSON lines")
        ->group("Output");
    command_line::parse(app, argc, argv);
    adapt_to_transfer(app, args);
    adapt_to_distribution(app, args);
    fill_defaults(args);
    validate(args.decode, "options");
    validate(args.rollout, "options");
    validate(args.weights, "options");
    return args;
}

std::vector<prompts::prompt> read_prompts(const arguments& args) {
    std::vector<prompts::prompt> result;
    for (const std::string& text : args.prompts) result.push_back(prompts::of_text(text));
    if (!args.prompt_file.empty())
        result =
            prompts::read(args.prompt_file, args.prompts_format, 0,
                          args.limit == 0 ? std::numeric_limits<std::size_t>::max() : args.limit);
    if (result.empty()) throw tq::invalid_option{"prompts: no prompt in " + args.prompt_file};
    return result;
}
