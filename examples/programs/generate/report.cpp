#include "report.hpp"

#include <unistd.h>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <tq/ext/json/json.hpp>

#include "../support/program.hpp"
#include "../support/utf8.hpp"

namespace {

template <class Figure>
tq::value_estimate average(const std::vector<answer>& answers, Figure figure) {
    std::vector<double> values;
    for (const answer& answer : answers) values.push_back(figure(answer));
    return tq::mean_estimate(values);
}

double total(const std::vector<answer>& answers, double (*figure)(const answer&)) {
    double sum = 0;
    for (const answer& answer : answers) sum += figure(answer);
    return sum;
}

double per(std::size_t a, std::size_t b) {
    return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

double reward_of(const answer& answer) { return answer.reward; }
double kl_of(const answer& answer) { return answer.kl; }
double tilt_kl_of(const answer& answer) { return answer.tilt_kl; }
double tokens_of(const answer& answer) { return static_cast<double>(answer.tokens); }
double seconds_of(const answer& answer) { return answer.seconds; }
double model_tokens_of(const answer& answer) { return static_cast<double>(answer.spent.tokens()); }

/// JSON text that survives answers cut in the middle of a character, and has no commands to a terminal.
std::string dump(const nlohmann::json& json) {
    return utf8::shown(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), true);
}

}  // namespace

const char* name_of(method method) {
    switch (method) {
        case method::plain:
            return "plain";
        case method::baseline:
            return "baseline";
        case method::tq:
            return "TQ*";
    }
    return "?";
}

report::report(const arguments& args, const std::vector<std::string>& prompts,
               std::vector<std::string> rewards)
    : args_{args},
      prompts_{prompts},
      rewards_{std::move(rewards)},
      show_progress_{isatty(STDERR_FILENO) && (args.json || !isatty(STDOUT_FILENO))} {
    if (args.trace.empty()) return;
    trace_.open(args.trace);
    if (!trace_) throw tq::invalid_option{"--trace: cannot write " + args.trace};
}

void report::begin_prompt(std::size_t prompt) {
    prompt_ = prompt;
    if (!args_.json)
        fmt::print("\n[{}/{}] {}\n", prompt + 1, prompts_.size(), utf8::shown(prompts_[prompt]));
}

void report::begin_answer(method method) {
    method_ = method;
    position_ = 0;
    if (!args_.json) fmt::print("\n  {:<9} ", name_of(method));
    std::fflush(stdout);
    progress(false);
}

void report::piece(const std::string& text) {
    ++position_;
    progress(false);
    if (args_.json) return;
    std::string indented;  // an answer's own line breaks keep the margin
    for (const char c : utf8::shown(text)) {
        indented += c;
        if (c == '\n') indented += std::string(12, ' ');
    }
    fmt::print("{}", indented);
    std::fflush(stdout);
}

void report::end_answer(const answer& answer) {
    progress(true);
    answers_[answer.method].push_back(answer);
    if (!args_.json) {
        std::string terms;
        if (rewards_.size() > 1)
            for (std::size_t j = 0; j < rewards_.size(); ++j)
                terms +=
                    fmt::format("{}{} {:.3f}", j == 0 ? " (" : ", ", rewards_[j], answer.terms[j]);
        if (!terms.empty()) terms += ")";
        fmt::print(
            "\n            -- reward {:.3f}{} | KL {:.1f} nats | {} tokens, {:.1f}/s | {:.0f} "
            "model tokens each\n",
            answer.reward, terms, answer.kl, answer.tokens, answer.tokens_per_second(),
            static_cast<double>(answer.spent.tokens()) /
                static_cast<double>(std::max<std::size_t>(answer.tokens, 1)));
    } else {
        nlohmann::json rewards;
        for (std::size_t j = 0; j < rewards_.size(); ++j) rewards[rewards_[j]] = answer.terms[j];
        fmt::print("{}\n", dump({{"prompt", prompts_[answer.prompt]},
                                 {"method", name_of(answer.method)},
                                 {"text", answer.text},
                                 {"tokens", answer.tokens},
                                 {"finished", answer.finished},
                                 {"reward", answer.reward},
                                 {"rewards", rewards},
                                 {"kl", answer.kl},
                                 {"kl_anchor", answer.tilt_kl},
                                 {"seconds", answer.seconds},
                                 {"model_tokens", answer.spent.tokens()},
                                 {"weights", answer.weights}}));
    }
    program::flush_output();
}

void report::summary() const {
    if (args_.json) return summary_json();
    fmt::print(
        "\nover {} prompts, up to {} tokens   (mean +- standard error over the prompts)\n\n"
        "  {:<9} {:>16} {:>16} {:>10} {:>22}\n",
        prompts_answered(), args_.tokens, "", "reward", "KL, nats", "tokens/s",
        "model tokens per token");
    for (const auto& [method, answers] : answers_) {
        const tq::value_estimate reward = average(answers, reward_of), kl = average(answers, kl_of);
        const double tokens = total(answers, tokens_of);
        fmt::print("  {:<9} {:>7.3f} +- {:<5.3f} {:>7.1f} +- {:<5.1f} {:>10.1f} {:>22.1f}\n",
                   name_of(method), reward.q, reward.standard_error, kl.q, kl.standard_error,
                   tokens / total(answers, seconds_of), total(answers, model_tokens_of) / tokens);
    }
    if (args_.decode.alpha_rule && args_.anchor == anchor::baseline)
        for (const auto& [method, answers] : answers_)
            if (method == method::tq)
                fmt::print(
                    "\nof {}: {:.1f} nats from the baseline, which is tilted and which the budget "
                    "is "
                    "about; the table's are from the policy (--anchor policy: one and the same)\n",
                    name_of(method), average(answers, tilt_kl_of).q);
    if (rewards_.size() > 1) summary_of_terms();
    const tq::weight_summary weights = weights_of_all();
    if (weights.estimates > 0)
        fmt::print(
            "\nof {} estimates by importance weights {:.0f} % collapsed, {:.0f} % ended "
            "unweighted, "
            "{:.0f} % were refused\n",
            weights.estimates, 100 * per(weights.collapsed, weights.estimates),
            100 * per(weights.unweighted, weights.estimates),
            100 * per(weights.refused, weights.estimates));
    if (args_.profile) profile();
}

/// All of them, unless the program was stopped.
std::size_t report::prompts_answered() const {
    std::size_t count = 0;
    for (const auto& [method, answers] : answers_) count = std::max(count, answers.size());
    return count;
}

tq::weight_summary report::weights_of_all() const {
    tq::weight_summary sum;
    for (const auto& [method, answers] : answers_)
        for (const answer& answer : answers) sum += answer.weights;
    return sum;
}

/// The rewards that the reward is the sum of.
void report::summary_of_terms() const {
    fmt::print("\nthe rewards by themselves\n\n  {:<9}", "");
    for (const std::string& name : rewards_) fmt::print(" {:>20.20}", name);
    for (const auto& [method, answers] : answers_) {
        fmt::print("\n  {:<9}", name_of(method));
        for (const tq::value_estimate& term : terms_of(answers))
            fmt::print("    {:>7.3f} +- {:.3f}", term.q, term.standard_error);
    }
    fmt::print("\n");
}

std::vector<tq::value_estimate> report::terms_of(const std::vector<answer>& answers) const {
    std::vector<tq::value_estimate> result;
    for (std::size_t j = 0; j < rewards_.size(); ++j)
        result.push_back(average(answers, [&](const answer& answer) { return answer.terms[j]; }));
    return result;
}

/// Where the time of TQ* went.
void report::profile() const {
    const auto found = answers_.find(method::tq);
    if (found == answers_.end()) return;
    const double seconds = total(found->second, seconds_of),
                 tokens = total(found->second, tokens_of);
    double outside = seconds;
    fmt::print("\nwhere the time of TQ* went\n\n  {:<9} {:>8} {:>24} {:>18}\n", "", "time",
               "model tokens per token", "tokens per decode");
    const auto row = [&](const char* name, usage::part usage::*part) {
        usage::part sum;
        for (const answer& answer : found->second) sum += answer.spent.*part;
        outside -= sum.seconds;
        fmt::print("  {:<9} {:>6.1f} % {:>24.1f} {:>18.1f}\n", name, 100 * sum.seconds / seconds,
                   static_cast<double>(sum.tokens) / tokens,
                   static_cast<double>(sum.tokens) /
                       static_cast<double>(std::max<std::size_t>(sum.decodes, 1)));
    };
    row("policy", &usage::policy);
    row("baseline", &usage::baseline);
    row("reward", &usage::reward);
    double kernels = 0, unseen = 0, steps = 0;
    tq::rollout_stats rollouts;
    std::map<tq::race_mode, std::size_t> races;
    for (const answer& answer : found->second) {
        kernels += answer.spent.kernel_seconds;
        rollouts += answer.spent.rollouts;
        unseen += static_cast<double>(answer.spent.unseen);
        for (const auto& [mode, count] : answer.spent.races) {
            races[mode] += count;
            steps += static_cast<double>(count);
        }
    }
    fmt::print("  {:<9} {:>6.1f} %\n  {:<9} {:>6.1f} %\n\n", "kernels", 100 * kernels / seconds,
               "host", 100 * (outside - kernels) / seconds);
    fmt::print("  rollouts: {} model calls, {:.1f} of {:.0f} slots filled in each\n",
               rollouts.calls, per(rollouts.rows, rollouts.calls),
               per(rollouts.in_flight, rollouts.calls));
    fmt::print("  decided without a rollout: {:.0f} % of the steps; the steps by mode:",
               100 * unseen / steps);
    for (const auto& [mode, count] : races)
        fmt::print(" {} ({:.0f} %)", nlohmann::json(mode).get<std::string>(),
                   100 * static_cast<double>(count) / steps);
    fmt::print("\n");
}

void report::summary_json() const {
    nlohmann::json methods;
    for (const auto& [method, answers] : answers_) {
        const tq::value_estimate reward = average(answers, reward_of), kl = average(answers, kl_of);
        const double tokens = total(answers, tokens_of);
        nlohmann::json rewards;
        const std::vector<tq::value_estimate> terms = terms_of(answers);
        for (std::size_t j = 0; j < rewards_.size(); ++j) rewards[rewards_[j]] = terms[j].q;
        methods[name_of(method)] = {
            {"reward", reward.q},
            {"se_reward", reward.standard_error},
            {"rewards", rewards},
            {"kl", kl.q},
            {"se_kl", kl.standard_error},
            {"tokens_per_second", tokens / total(answers, seconds_of)},
            {"model_tokens_per_token", total(answers, model_tokens_of) / tokens}};
    }
    fmt::print("{}\n", dump({{"summary", methods},
                             {"prompts", prompts_answered()},
                             {"decode", args_.decode},
                             {"rollout", args_.rollout},
                             {"weights", weights_of_all()},
                             {"anchor", args_.anchor == anchor::policy ? "policy" : "baseline"}}));
}

void report::trace(const tq::step& step, std::size_t prompt,
                   const std::vector<std::string>& candidate_texts) {
    if (!trace_.is_open()) return;
    nlohmann::json json = step;
    json["prompt"] = prompt;
    for (std::size_t i = 0; i < candidate_texts.size(); ++i)
        json["candidates"][i]["text"] = candidate_texts[i];
    trace_ << dump(json) << '\n' << std::flush;
    if (!trace_) throw tq::backend_error{"--trace: writing " + args_.trace + " failed"};
}

void report::progress(bool done) {
    if (!show_progress_) return;
    if (done)
        std::fputs("\r\033[K", stderr);
    else
        std::fputs(fmt::format("\r\033[Kprompt {}/{}, {}: token {}/{}", prompt_ + 1,
                               prompts_.size(), name_of(method_), position_, args_.tokens)
                       .c_str(),
                   stderr);
    std::fflush(stderr);
}
