#include "results.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <thread>
#include <tq/evaluate/evaluate.hpp>
#include <tq/tq.hpp>

namespace evaluation {
namespace {

using nlohmann::json;

constexpr double unknown = std::numeric_limits<double>::quiet_NaN();

/// Mean and standard error over the known values; null if there is none.
json spread(const std::vector<double>& values) {
    std::vector<double> known;
    for (const double x : values)
        if (std::isfinite(x)) known.push_back(x);
    if (known.empty()) return nullptr;
    const tq::value_estimate estimate = tq::mean_estimate(known);
    return {{"mean", estimate.q}, {"se", estimate.standard_error}};
}

json number_or_null(double x) { return std::isfinite(x) ? json(x) : json(nullptr); }

std::string machine() {
    std::string cpu = "unknown processor";
    std::ifstream info{"/proc/cpuinfo"};
    for (std::string line; std::getline(info, line);)
        if (line.starts_with("model name")) {
            cpu = line.substr(line.find(':') + 2);
            break;
        }
    return fmt::format("{} x {}", std::thread::hardware_concurrency(), cpu);
}

/// Everything that is known of one method.
class method_data {
public:
    using field = std::function<double(const answer&, const measures&)>;

    method_data(const method_config& method, const evaluation::config& all, const journal& journal,
                const measurements& measured)
        : config{&method},
          prompts_{all.limit} {
        for (const auto& [key, a] : journal.answers())
            if (const auto found = measured.answers.find(key);
                key.method == method.name && found != measured.answers.end())
                answers.emplace_back(&a, found->second);
    }

    /// The mean over each prompt's seeds; NaN where nothing is known.
    [[nodiscard]] std::vector<double> by_prompt(const field& value) const {
        std::vector<double> sum(prompts_), count(prompts_);
        for (const auto& [a, m] : answers)
            if (const double x = value(*a, m); std::isfinite(x)) {
                sum[a->key.prompt] += x;
                ++count[a->key.prompt];
            }
        for (std::size_t i = 0; i < prompts_; ++i)
            sum[i] = count[i] > 0 ? sum[i] / count[i] : unknown;
        return sum;
    }
    [[nodiscard]] double total(const field& value) const {
        double sum = 0;
        for (const auto& [a, m] : answers) sum += value(*a, m);
        return sum;
    }
    [[nodiscard]] std::vector<double> reward() const {
        return by_prompt([](const answer& a, const measures&) { return a.reward; });
    }
    [[nodiscard]] double model_tokens_per_token() const {
        return total([](const answer& a, const measures&) {
                   return static_cast<double>(a.spent.total());
               }) /
               total([](const answer& a, const measures&) {
                   return static_cast<double>(a.tokens.size());
               });
    }

    const method_config* config;
    std::vector<std::pair<const answer*, measures>> answers;

private:
    std::size_t prompts_;
};

/// Share of the pairs in which the row's method wins or ties; null where nobody compared them.
json win_tie_of(const config& c, const journal& journal, const measurements& measured) {
    const auto score = [&](const answer& a) { return measured.answers.at(a.key).judge; };
    const auto share = [&](const method_config& row, const method_config& column) -> json {
        if (c.judge.pairs) {
            const auto said = measured.verdicts.find(row.name);
            if (column.name != c.against || said == measured.verdicts.end()) return nullptr;
            const std::vector<double> even(said->second.size(), 0.5);
            return tq::compare_wins(said->second, even).win_tie();
        }
        std::vector<double> a, b;
        each_pair(c, journal, row, column, [&](const answer& x, const answer& y) {
            if (!std::isfinite(score(x)) || !std::isfinite(score(y))) return;
            a.push_back(score(x));
            b.push_back(score(y));
        });
        if (a.empty()) return nullptr;
        return tq::compare_wins(a, b, c.judge.margin).win_tie();
    };
    json matrix = json::array();
    for (const method_config& row : c.methods) {
        matrix.push_back(json::array());
        for (const method_config& column : c.methods) matrix.back().push_back(share(row, column));
    }
    return matrix;
}

/// The numbers of those prompts of which both are known.
std::pair<std::vector<double>, std::vector<double>> both_known(const std::vector<double>& x,
                                                               const std::vector<double>& y) {
    std::pair<std::vector<double>, std::vector<double>> known;
    for (std::size_t i = 0; i < x.size(); ++i)
        if (std::isfinite(x[i]) && std::isfinite(y[i])) {
            known.first.push_back(x[i]);
            known.second.push_back(y[i]);
        }
    return known;
}

json summary_of(const method_data& data, const method_data& against,
                const std::map<std::string, timing>& timings) {
    const auto figure = [&](const method_data::field& value) {
        return spread(data.by_prompt(value));
    };
    const std::vector<double> reward = data.reward();
    const auto [a, b] = both_known(reward, against.reward());
    json json_{{"name", data.config->name},
               {"label", data.config->label},
               {"group", data.config->group},
               {"kind", data.config->json["method"]},
               {"options", data.config->json},
               {"alpha", data.config->has_alpha() ? number_or_null(data.config->decode.alpha)
                                                  : json(nullptr)},
               {"answers", data.answers.size()}};
    json_["reward"] = spread(reward);
    json_["judge"] = figure([](const answer&, const measures& m) { return m.judge; });
    // A mean over the answers whose divergence happens to be known is no mean.
    const bool kl_known = std::ranges::all_of(
        data.answers, [](const auto& entry) { return std::isfinite(entry.first->kl); });
    json_["kl"] =
        kl_known ? figure([](const answer& x, const measures&) { return x.kl; }) : json(nullptr);
    json_["coherence"] = figure([](const answer&, const measures& m) { return m.coherence; });
    json_["diversity"] = figure([](const answer&, const measures& m) { return m.diversity; });
    json_["perplexity"] = figure([](const answer&, const measures& m) { return m.perplexity; });
    json_["length"] = figure(
        [](const answer& x, const measures&) { return static_cast<double>(x.tokens.size()); });
    json_["model_tokens_per_token"] = number_or_null(data.model_tokens_per_token());
    const auto time = timings.find(data.config->name);
    json_["tokens_per_second"] =
        time == timings.end()
            ? json(nullptr)
            : number_or_null(static_cast<double>(time->second.emitted) / time->second.seconds);
    if (a.empty()) return json_;
    const tq::paired_difference gain = tq::compare_paired(a, b);
    const tq::mean_interval interval = tq::bootstrap_paired(a, b, tq::random_key{0});
    json_["difference"] = {{"mean", gain.mean},
                           {"se", number_or_null(gain.standard_error)},
                           {"lo", interval.lo},
                           {"hi", interval.hi}};
    json_["reward_ratio"] = tq::mean_estimate(a).q / tq::mean_estimate(b).q;
    std::vector<tq::token_view> texts;
    for (const auto& [x, m] : data.answers) texts.emplace_back(x->tokens);
    for (const std::size_t n : {1U, 2U, 3U})
        json_["distinct"].push_back(number_or_null(tq::distinct(texts, n)));
    return json_;
}

/// One n of best-of-n that was run.
struct best_of_n_run {
    std::size_t n;
    double model_tokens_per_token;
    std::vector<double> reward;  // by prompt
};

/// Those that no cheaper one beats (of another proposer, say), in ascending order of their cost.
std::vector<best_of_n_run> best_of_n_runs(const std::vector<method_data>& data) {
    std::vector<best_of_n_run> runs;
    for (const method_data& d : data)
        if (d.config->kind == method_kind::best_of_n && !d.answers.empty())
            runs.push_back({d.config->n, d.model_tokens_per_token(), d.reward()});
    std::ranges::sort(runs, {}, &best_of_n_run::model_tokens_per_token);
    double most = -std::numeric_limits<double>::infinity();
    std::erase_if(runs, [&](const best_of_n_run& run) {
        const double mean = tq::mean_estimate(run.reward).q;
        return !(mean > std::exchange(most, std::max(most, mean)));
    });
    return runs;
}

/// The rewards of best-of-n at a cost, prompt by prompt: interpolated between the n's that were run, in
/// the logarithm of the cost. Beyond them nothing is known.
std::optional<std::vector<double>> best_of_n_at(const std::vector<best_of_n_run>& runs,
                                                double cost) {
    for (std::size_t i = 1; i < runs.size(); ++i) {
        const double lo = runs[i - 1].model_tokens_per_token, hi = runs[i].model_tokens_per_token;
        if (cost < lo || cost > hi) continue;
        const double share = std::log(cost / lo) / std::log(hi / lo);
        std::vector<double> mixed = runs[i].reward;
        for (std::size_t p = 0; p < mixed.size(); ++p)
            mixed[p] = share * mixed[p] + (1 - share) * runs[i - 1].reward[p];
        return mixed;
    }
    return {};
}

/// Mean difference of rewards and its error over the prompts that both know.
json gain_over(const std::vector<double>& mine, const std::vector<double>& rival) {
    const auto [a, b] = both_known(mine, rival);
    if (a.empty()) return {{"mean", nullptr}, {"se", nullptr}};
    const tq::paired_difference gain = tq::compare_paired(a, b);
    return {{"mean", number_or_null(gain.mean)}, {"se", number_or_null(gain.standard_error)}};
}

/// A method against best-of-n: at equal model tokens, or against the n nearest in cost, with its share
/// of the method's tokens, where no n's that were run have the cost between them.
json against_best_of_n(const method_data& d, const std::vector<best_of_n_run>& runs) {
    const double cost = d.model_tokens_per_token();
    if (const auto equal = best_of_n_at(runs, cost)) return gain_over(d.reward(), *equal);
    const best_of_n_run& nearest =
        cost < runs.front().model_tokens_per_token ? runs.front() : runs.back();
    json result = gain_over(d.reward(), nearest.reward);
    result["n"] = nearest.n;
    result["share_of_tokens"] = nearest.model_tokens_per_token / cost;
    return result;
}

/// The figures that matter most, of the form of TQ* with the largest reward; null where they are unknown.
json headline_of(const json& methods, const json& win_tie, const std::vector<method_data>& data) {
    std::optional<std::size_t> best, plain;
    for (std::size_t i = 0; i < data.size(); ++i) {
        if (data[i].answers.empty()) continue;
        if (data[i].config->kind == method_kind::plain && !plain) plain = i;
        if (data[i].config->is_tq() &&
            (!best || methods[i]["reward"]["mean"] > methods[*best]["reward"]["mean"]))
            best = i;
    }
    json headline = json::object();
    if (!best) return headline;
    headline["method"] = data[*best].config->name;
    if (plain) {
        const auto ratio = [&](const char* field) -> json {
            const json &a = methods[*best][field], &b = methods[*plain][field];
            return a.is_null() || b.is_null()
                       ? json(nullptr)
                       : json(a["mean"].get<double>() / b["mean"].get<double>());
        };
        headline["reward_ratio_over_plain"] = ratio("reward");
        headline["judge_win_tie"] = win_tie[*best][*plain];
        headline["coherence_ratio"] = ratio("coherence");
        headline["diversity_ratio"] = ratio("diversity");
    }
    const std::vector<best_of_n_run> runs = best_of_n_runs(data);
    if (runs.empty()) return headline;
    // At equal model tokens the best form may be another one.
    for (const method_data& d : data) {
        if (!d.config->is_tq() || d.answers.empty()) continue;
        const json gain = against_best_of_n(d, runs);
        const bool equal = !gain.contains("n");
        headline[equal ? "equal_tokens" : "nearest_best_of_n"][d.config->name] = gain;
        if (&d != &data[*best]) continue;
        headline["reward_over_best_of_n_equal_tokens"] = equal ? gain["mean"] : json(nullptr);
        headline["se_reward_over_best_of_n_equal_tokens"] = equal ? gain["se"] : json(nullptr);
    }
    return headline;
}

/// The recorded steps.
json explorer_of(const journal& journal, const std::vector<method_data>& data) {
    json list = json::array();
    for (const auto& [key, a] : journal.answers()) {
        const auto of = std::ranges::find_if(
            data, [&](const method_data& d) { return d.config->name == key.method; });
        if (a.steps.is_null() || of == data.end()) continue;
        list.push_back({{"method", key.method},
                        {"prompt", key.prompt},
                        {"seed", key.seed},
                        {"text", a.text},
                        {"reward", a.reward},
                        {"steps", a.steps}});
        for (json& step : list.back()["steps"])
            step["select"] =
                of->config->decode.select == tq::selection::argmax ? "argmax" : "sample";
    }
    return list;
}

std::string cell(const json& figure, int digits) {
    if (figure.is_null()) return "-";
    const double mean = figure["mean"];
    if (figure["se"].is_null() || !std::isfinite(figure["se"].get<double>()))
        return fmt::format("{:.{}f}", mean, digits);
    return fmt::format("{:.{}f} ± {:.{}f}", mean, digits, figure["se"].get<double>(), digits);
}

std::string plain_number(const json& value, int digits) {
    return value.is_number() ? fmt::format("{:.{}f}", value.get<double>(), digits) : "-";
}

}  // namespace

nlohmann::json results_of(const config& c, const std::vector<std::string>& prompts,
                          const journal& journal, const measurements& measured,
                          const std::map<std::string, timing>& timings,
                          const std::string& command) {
    std::vector<method_data> data;
    for (const method_config& m : c.methods) data.emplace_back(m, c, journal, measured);
    const method_data& against = *std::ranges::find_if(
        data, [&](const method_data& d) { return d.config->name == c.against; });
    json configuration = c.json;
    configuration["methods"] = json::array();
    for (const method_config& m : c.methods) configuration["methods"].push_back(m.json);
    json methods = json::array();
    for (const method_data& d : data) methods.push_back(summary_of(d, against, timings));
    const json win_tie = win_tie_of(c, journal, measured);
    return {{"name", c.name},
            {"description", c.description},
            {"machine", machine()},
            {"command", command},
            {"target", c.reward_name},
            {"judge", c.judge.name},
            {"against", c.against},
            {"seeds", c.seeds},
            {"tokens", c.tokens},
            {"prompts", prompts},
            {"config", configuration},
            {"headline", headline_of(methods, win_tie, data)},
            {"methods", methods},
            {"win_tie", win_tie},
            {"explorer", explorer_of(journal, data)}};
}

std::string table_of(const nlohmann::json& results) {
    std::size_t width = 6;
    for (const json& m : results["methods"])
        width = std::max(width, m["name"].get<std::string>().size());
    std::string text =
        fmt::format("{:<{}} {:>15} {:>14} {:>9} {:>13} {:>9} {:>9} {:>9} {:>11} {:>8}\n", "method",
                    width, "reward", "KL, nats", "judge", "win or tie", "coherence", "diversity",
                    "perplex.", "tokens/tok.", "tokens/s");
    std::size_t against = 0, i = 0;
    for (const json& m : results["methods"]) {
        if (m["name"] == results["against"]) against = i;
        ++i;
    }
    i = 0;
    for (const json& m : results["methods"]) {
        const auto mean = [&](const char* field, int digits) {
            return m[field].is_null() ? std::string{"-"} : plain_number(m[field]["mean"], digits);
        };
        text += fmt::format(
            "{:<{}} {:>15} {:>14} {:>9} {:>13} {:>9} {:>9} {:>9} {:>11} {:>8}\n",
            m["name"].get<std::string>(), width, cell(m["reward"], 3), cell(m["kl"], 1),
            mean("judge", 3), plain_number(results["win_tie"][i][against], 2), mean("coherence", 3),
            mean("diversity", 3), mean("perplexity", 1),
            plain_number(m["model_tokens_per_token"], 1), plain_number(m["tokens_per_second"], 1));
        ++i;
    }
    return text;
}

std::string csv_of(const nlohmann::json& results) {
    std::string text =
        "method,kind,alpha,answers,reward,reward_se,kl,kl_se,judge,judge_se,coherence,coherence_se,"
        "diversity,diversity_se,perplexity,perplexity_se,length,length_se,model_tokens_per_token,"
        "tokens_per_second\n";
    const auto number = [](const json& value) {
        return value.is_number() ? fmt::format("{}", value.get<double>()) : std::string{};
    };
    for (const json& m : results["methods"]) {
        std::string name = m["name"];
        if (name.find_first_of(",\"\n") != std::string::npos) {
            std::string escaped = "\"";
            for (const char c : name) escaped += c == '"' ? "\"\"" : std::string(1, c);
            name = escaped + "\"";
        }
        text += fmt::format("{},{},{},{}", name, m["kind"].get<std::string>(), number(m["alpha"]),
                            m["answers"].get<std::size_t>());
        for (const char* field :
             {"reward", "kl", "judge", "coherence", "diversity", "perplexity", "length"})
            text += m[field].is_null()
                        ? std::string{",,"}
                        : fmt::format(",{},{}", number(m[field]["mean"]), number(m[field]["se"]));
        text += fmt::format(",{},{}\n", number(m["model_tokens_per_token"]),
                            number(m["tokens_per_second"]));
    }
    return text;
}

}  // namespace evaluation
