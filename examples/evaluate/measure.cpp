#include "measure.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>

#include "../support/defaults.hpp"

namespace evaluation {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

std::string contents(const std::filesystem::path& file) {
    std::ifstream stream{file, std::ios::binary};
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

/// One number a line, as many as answers; empty if it is something else.
std::vector<double> numbers(const std::filesystem::path& file, std::size_t count) {
    std::vector<double> values;
    std::ifstream stream{file};
    for (std::string line; std::getline(stream, line);) {
        const nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
        if (!value.is_number()) return {};
        values.push_back(value.get<double>());
    }
    return values.size() == count ? values : std::vector<double>{};
}

std::string quoted(const std::filesystem::path& path) {
    std::string text = "'";
    for (const char c : std::filesystem::absolute(path).string())
        text += c == '\'' ? "'\\''" : std::string(1, c);
    return text + "'";
}

/// Scores by the judge's command; kept until its input changes.
void judge_all(const config& c, const std::vector<std::string>& prompts,
               const std::map<answer_key, answer>& answers, const std::filesystem::path& folder,
               std::map<answer_key, measures>& result) {
    if (c.judge.command.empty()) return;
    std::string lines;
    for (const auto& [key, a] : answers)
        lines += nlohmann::json{{"prompt", prompts[key.prompt]}, {"answer", a.text}}.dump(
                     -1, ' ', false, nlohmann::json::error_handler_t::replace) +
                 "\n";
    const auto asked = folder / "judge_input.jsonl", told = folder / "judge_output.txt";
    std::vector<double> scores;
    if (contents(asked) == lines) scores = numbers(told, answers.size());
    if (scores.empty()) {
        std::ofstream{asked, std::ios::binary} << lines;
        const std::string command = fmt::format("cd {} && ({}) < {} > {}", quoted(c.folder),
                                                c.judge.command, quoted(asked), quoted(told));
        if (const int code = std::system(command.c_str()); code != 0)
            throw tq::backend_error{fmt::format("judge {}: the command failed with status {}: {}",
                                                c.judge.name, code, command)};
        scores = numbers(told, answers.size());
        if (scores.empty())
            throw tq::backend_error{
                fmt::format("judge {}: its output must be {} lines with one number each, see {}",
                            c.judge.name, answers.size(), told.string())};
    }
    std::size_t i = 0;
    for (const auto& entry : answers) result[entry.first].judge = scores[i++];
}

void perplexities(const config& c, const std::vector<std::string>& prompts,
                  const std::map<answer_key, answer>& answers, std::size_t threads,
                  std::map<answer_key, measures>& result) {
    const tq::llama_cpp::model weights{c.model.empty() ? demo_defaults::model() : c.model};
    tq::llama_cpp::language_model policy{weights, {.threads = threads}};
    std::vector<tq::token_list> starts;
    for (const std::string& prompt : prompts)
        starts.push_back(weights.chat_prompt(prompt, c.system));
    for (const auto& [key, a] : answers) {
        const tq::answer_view view{starts[key.prompt], a.tokens, a.finished};
        result[key].perplexity = tq::perplexity(policy, {&view, 1}).front();
    }
}

void coherences(const config& c, const std::vector<std::string>& prompts,
                const std::map<answer_key, answer>& answers, std::size_t threads,
                std::map<answer_key, measures>& result) {
    const std::string file = c.embedder.empty() ? demo_defaults::embedder() : c.embedder;
    if (file.empty()) {
        fmt::print(stderr, "no coherence: cmake/fetch_embedder fetches the model for it\n");
        return;
    }
    tq::llama_cpp::sentence_embedder embedder{tq::llama_cpp::model{file}, {.threads = threads}};
    std::vector<std::string> asked, answered;
    for (const auto& [key, a] : answers) {
        asked.push_back(prompts[key.prompt]);
        answered.push_back(a.text);
    }
    const std::vector<double> values = tq::coherence(embedder, asked, answered);
    std::size_t i = 0;
    for (const auto& entry : answers) result[entry.first].coherence = values[i++];
}

}  // namespace

std::map<answer_key, measures> measure(const config& c, const std::vector<std::string>& prompts,
                                       const journal& journal, const std::filesystem::path& folder,
                                       std::size_t threads) {
    std::map<answer_key, answer> answers;  // of the methods that are still in the configuration
    for (const auto& [key, a] : journal.answers())
        for (const method_config& m : c.methods)
            if (m.name == key.method && key.seed < c.seeds && key.prompt < prompts.size())
                answers.emplace(key, a);
    std::map<answer_key, measures> result;
    for (const auto& [key, a] : answers)
        result[key] = {unknown, unknown, unknown, tq::diversity(a.tokens)};
    judge_all(c, prompts, answers, folder, result);
    perplexities(c, prompts, answers, threads, result);
    coherences(c, prompts, answers, threads, result);
    return result;
}

}  // namespace evaluation
