#include "measure.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/evaluate/evaluate.hpp>
#include <tq/tq.hpp>

#include "../support/defaults.hpp"
#include "../support/digest.hpp"
#include "../support/program.hpp"
#include "../support/untrusted.hpp"
#include "identity.hpp"
#include "models.hpp"

namespace evaluation {
namespace {

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

std::string contents(const std::filesystem::path& file) {
    std::ifstream stream{file, std::ios::binary};
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

/// One number a line, as many as answers; else none, and `wrong` says why.
std::vector<double> numbers(const std::filesystem::path& file, std::size_t count,
                            std::string& wrong) {
    std::vector<double> values;
    std::ifstream stream{file};
    for (std::string line; untrusted::read_line(stream, line, file.string());) {
        const nlohmann::json value = untrusted::parse_json(line);
        if (!value.is_number()) {
            wrong = fmt::format("line {} is \"{}\"", values.size() + 1, line.substr(0, 60));
            return {};
        }
        values.push_back(value.get<double>());
    }
    if (values.size() == count) return values;
    wrong = fmt::format("it has {} lines", values.size());
    return {};
}

std::string digest_of_text_in(const std::filesystem::path& file) {
    return "\n" + digest::of_text(contents(file)) + "\n";
}

std::string quoted(const std::filesystem::path& path) {
    std::string text = "'";
    for (const char c : std::filesystem::absolute(path).string())
        text += c == '\'' ? "'\\''" : std::string(1, c);
    return text + "'";
}

std::string line_of(const nlohmann::json& json) {
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

/// Removes a file unless it was renamed.
struct scratch {
    std::filesystem::path path;
    explicit scratch(const std::filesystem::path& last)
        : path{fmt::format("{}.{}.part", last.string(), ::getpid())} {}
    scratch(const scratch&) = delete;
    scratch& operator=(const scratch&) = delete;
    ~scratch() {
        std::error_code none;
        std::filesystem::remove(path, none);
    }
};

/// What the judge says of `count` lines. Kept, once it has succeeded, while all that it depends on is the
/// same; written aside, so that nothing else is ever found.
std::vector<double> ask_judge(const config& c, const std::string& lines, std::size_t count,
                              const std::filesystem::path& folder) {
    const auto asked = folder / "judge_input.jsonl", told = folder / "judge_output.txt",
               mark = folder / "judge.json";
    const std::string about = nlohmann::json{
        {"judge", identity_of(c, c.judge)},
        {"input",
         digest::of_text(lines)}}.dump();
    std::string wrong;
    if (contents(mark) == about + digest_of_text_in(told))
        if (std::vector<double> known = numbers(told, count, wrong); known.size() == count)
            return known;
    const scratch input{asked}, output{told}, done{mark};
    std::ofstream{input.path, std::ios::binary} << lines;
    const std::string command =
        fmt::format("cd {} && ({}) < {} > {}", quoted(c.folder), c.judge.command,
                    quoted(input.path), quoted(output.path));
    if (const int code = std::system(command.c_str()); code != 0)
        throw tq::backend_error{fmt::format("judge {}: the command failed with status {}: {}",
                                            c.judge.name, code, c.judge.command)};
    std::vector<double> values = numbers(output.path, count, wrong);
    if (values.size() != count)
        throw tq::backend_error{
            fmt::format("judge {}: it must write {} lines with one number each; {}", c.judge.name,
                        count, wrong)};
    std::ofstream{done.path, std::ios::binary} << about << digest_of_text_in(output.path);
    std::filesystem::rename(input.path, asked);
    std::filesystem::rename(output.path, told);
    std::filesystem::rename(done.path, mark);
    return values;
}

void judge_each(const config& c, const std::vector<prompt>& prompts,
                const std::map<answer_key, answer>& answers, const std::filesystem::path& folder,
                std::map<answer_key, measures>& result) {
    std::string lines;
    for (const auto& [key, a] : answers)
        lines += line_of({{"prompt", prompts[key.prompt].text()}, {"answer", a.text}});
    const std::vector<double> scores = ask_judge(c, lines, answers.size(), folder);
    std::size_t i = 0;
    for (const auto& entry : answers) result[entry.first].judge = scores[i++];
}

void judge_pairs(const config& c, const std::vector<prompt>& prompts, const journal& journal,
                 const std::filesystem::path& folder,
                 std::map<std::string, std::vector<double>>& verdicts) {
    std::string lines;
    std::vector<std::string> owners;
    for (const method_config& m : c.methods)
        if (m.name != c.against)
            each_pair(c, journal, m, c.method(c.against), [&](const answer& a, const answer& b) {
                lines += line_of(
                    {{"prompt", prompts[a.key.prompt].text()}, {"a", a.text}, {"b", b.text}});
                owners.push_back(m.name);
            });
    const std::vector<double> values = ask_judge(c, lines, owners.size(), folder);
    for (std::size_t i = 0; i < owners.size(); ++i) verdicts[owners[i]].push_back(values[i]);
}

void perplexities(const config& c, const std::vector<prompt>& prompts,
                  const std::map<answer_key, answer>& answers, std::size_t threads,
                  std::map<answer_key, measures>& result) {
    const tq::llama_cpp::model_file file{demo_defaults::model_path(c.model)};
    std::vector<tq::token_list> starts;
    for (const prompt& asked : prompts) starts.push_back(prompt_of(file, c, asked));
    tq::llama_cpp::language_model policy{file,
                                         {.context = context_for(starts, c), .threads = threads}};
    for (const auto& [key, a] : answers) {
        for (const tq::token_id token : a.tokens)
            tq::check_option(static_cast<std::size_t>(token) < file.vocab_size(),
                             fmt::format("the journal's answer of {}, prompt {}, seed {}",
                                         key.method, key.prompt, key.seed),
                             "token", token, fmt::format("in [0, {})", file.vocab_size()));
        const tq::answer_view view{starts[key.prompt], a.tokens, a.finished};
        result[key].perplexity = tq::perplexity(policy, {&view, 1}).front();
    }
}

void coherences(const config& c, const std::vector<prompt>& prompts,
                const std::map<answer_key, answer>& answers, std::size_t threads,
                std::map<answer_key, measures>& result) {
    const std::string path = c.embedder.empty() ? demo_defaults::embedder() : c.embedder;
    if (path.empty()) {
        program::say("no coherence: cmake/fetch_embedder fetches the model for it");
        return;
    }
    tq::llama_cpp::sentence_embedder embedder{tq::llama_cpp::model_file{path},
                                              {.threads = threads}};
    std::vector<std::string> asked, answered;
    for (const auto& [key, a] : answers) {
        asked.push_back(prompts[key.prompt].text());
        answered.push_back(a.text);
    }
    const std::vector<double> values = tq::coherence(embedder, asked, answered);
    std::size_t i = 0;
    for (const auto& entry : answers) result[entry.first].coherence = values[i++];
}

}  // namespace

void each_pair(const config& c, const journal& journal, const method_config& a,
               const method_config& b,
               const std::function<void(const answer&, const answer&)>& use) {
    const std::size_t seeds_a = a.deterministic() ? 1 : c.seeds,
                      seeds_b = b.deterministic() ? 1 : c.seeds;
    for (std::size_t seed = 0; seed < std::max(seeds_a, seeds_b); ++seed)
        for (std::size_t prompt = 0; prompt < c.limit; ++prompt) {
            const answer* x = journal.find({a.name, seeds_a == 1 ? 0 : seed, prompt});
            const answer* y = journal.find({b.name, seeds_b == 1 ? 0 : seed, prompt});
            if (x != nullptr && y != nullptr) use(*x, *y);
        }
}

measurements measure(const config& c, const std::vector<prompt>& prompts, const journal& journal,
                     const std::filesystem::path& folder, std::size_t threads) {
    std::map<answer_key, answer> answers;
    for (const auto& [key, a] : journal.answers())
        for (const method_config& m : c.methods)
            if (m.name == key.method && key.seed < c.seeds && key.prompt < prompts.size())
                answers.emplace(key, a);
    measurements result;
    for (const auto& [key, a] : answers)
        result.answers[key] = {unknown, unknown, unknown, tq::diversity(a.tokens)};
    if (!c.judge.command.empty() && c.judge.pairs)
        judge_pairs(c, prompts, journal, folder, result.verdicts);
    else if (!c.judge.command.empty())
        judge_each(c, prompts, answers, folder, result.answers);
    perplexities(c, prompts, answers, threads, result.answers);
    coherences(c, prompts, answers, threads, result.answers);
    return result;
}

}  // namespace evaluation
