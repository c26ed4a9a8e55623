#include "config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "../support/defaults.hpp"
#include "../support/names.hpp"
#include "../support/untrusted.hpp"

namespace evaluation {
namespace {

using nlohmann::json;

const std::map<std::string, method_kind> kinds{
    {"plain", method_kind::plain},
    {"baseline", method_kind::baseline},
    {"mixed", method_kind::mixed},
    {"tq", method_kind::tq},
    {"block_tq", method_kind::block_tq},
    {"controlled_decoding", method_kind::controlled_decoding},
    {"blockwise_cd", method_kind::blockwise_cd},
    {"args", method_kind::args},
    {"best_of_n", method_kind::best_of_n},
    {"speculative_rejection", method_kind::speculative_rejection},
    {"segment_rejection", method_kind::segment_rejection}};
const std::map<std::string, transfer_kind> transfers{{"direct", transfer_kind::direct},
                                                     {"indirect", transfer_kind::indirect},
                                                     {"soft", transfer_kind::soft}};
const std::map<std::string, writer> writers{
    {"model", writer::model}, {"args", writer::args}, {"best_of_n", writer::best_of_n}};
const std::map<std::string, bool> sides{{"policy", true}, {"baseline", false}};

[[noreturn]] void refuse(const std::string& where, const json& value, const std::string& allowed) {
    throw tq::invalid_option{fmt::format("{} = {}, must be {}", where, value.dump(), allowed)};
}

double number(const json& value, const std::string& where) {
    if (!value.is_number() || !std::isfinite(value.get<double>())) refuse(where, value, "a number");
    return value.get<double>();
}

double number_or_inf(const json& value, const std::string& where) {
    if (value == "inf") return std::numeric_limits<double>::infinity();
    if (!value.is_number()) refuse(where, value, "a number or \"inf\"");
    return value.get<double>();
}

/// A reader of whole numbers. The limits stand for what memory and time no machine has.
auto up_to(std::size_t most, std::size_t least = 0) {
    return [least, most](const json& value, const std::string& where) {
        if (!value.is_number_integer() || value < least || value > most)
            refuse(where, value, fmt::format("a whole number in [{}, {}]", least, most));
        return value.get<std::size_t>();
    };
}
constexpr std::size_t thousand = 1000, million = thousand * thousand;

std::string text(const json& value, const std::string& where) {
    if (!value.is_string()) refuse(where, value, "a string");
    return value.get<std::string>();
}

bool flag(const json& value, const std::string& where) {
    if (!value.is_boolean()) refuse(where, value, "true or false");
    return value.get<bool>();
}

template <class Value>
Value choice(const std::map<std::string, Value>& words, const json& value,
             const std::string& where) {
    if (value.is_string())
        if (const auto found = words.find(value.get<std::string>()); found != words.end())
            return found->second;
    refuse(
        where, value,
        names::listed(words) +
            (value.is_string() ? names::meant(value.get<std::string>(), names::keys(words)) : ""));
}

/// Calls the setter of every key; unknown keys are refused.
template <class Setters>
void read_object(const json& object, const std::string& where, const Setters& setters) {
    if (!object.is_object()) refuse(where, object, "an object");
    for (const auto& [key, value] : object.items()) {
        const auto setter = setters.find(key);
        if (setter == setters.end()) {
            throw tq::invalid_option{fmt::format("{}: unknown key {}; known: {}{}", where,
                                                 json(key).dump(), names::listed(setters),
                                                 names::meant(key, names::keys(setters)))};
        }
        setter->second(value, where + "." + key);
    }
}

using setter = std::function<void(const json&, const std::string&)>;
using setter_map = std::map<std::string, setter>;

template <class Value, class Read>
setter into(Value& place, Read read) {
    return [&place, read](const json& value, const std::string& where) {
        place = static_cast<Value>(read(value, where));
    };
}
template <class Value>
setter one_of(Value& place, const std::map<std::string, Value>& names) {
    return [&place, &names](const json& value, const std::string& where) {
        place = choice(names, value, where);
    };
}

std::string path_from(const std::filesystem::path& folder, const std::string& name) {
    return name.empty() ? name : (folder / name).lexically_normal().string();
}

/// A model by its name among the cached ones, which stays, or a file.
std::string model_file(const std::filesystem::path& folder, const std::string& name) {
    return demo_defaults::is_model_name(name) ? name : path_from(folder, name);
}

/// A LoRA by its name among the demo's, or a file.
std::string lora_file(const std::filesystem::path& folder, const std::string& name) {
    for (const char* known : {"valence", "brevity", "lexicon"})
        if (name == known) return demo_defaults::baseline_lora(name);
    return path_from(folder, name);
}

void read_baseline(const json& value, const std::string& where, const std::filesystem::path& folder,
                   baseline_config& baseline) {
    std::string lora;
    read_object(value, where,
                setter_map{{"model", into(baseline.model, text)},
                           {"lora", into(lora, text)},
                           {"scale", into(baseline.scale, number)},
                           {"system", into(baseline.system, text)},
                           {"written_by", one_of(baseline.written, writers)},
                           {"alpha", into(baseline.alpha, number_or_inf)},
                           {"n", into(baseline.n, up_to(100 * thousand))}});
    baseline.model = model_file(folder, baseline.model);
    baseline.lora = lora_file(folder, lora);
}

/// The keys that each kind of method has.
std::set<std::string> keys_of(method_kind kind) {
    using enum method_kind;
    const std::set<std::string> tilt{"alpha", "top_k",        "select",      "anchor",
                                     "race",  "token_budget", "temperature", "widen"},
        ahead{"horizon", "rollouts", "rollout_temperature"},
        blocks{"alpha", "select", "block", "candidates", "proposal_temperature"},
        transfer{"transfer", "beta", "weighting", "on_collapse"};
    std::set<std::string> keys{"name", "label", "method", "baseline"};
    const auto add = [&](const std::set<std::string>& more) {
        keys.insert(more.begin(), more.end());
    };
    switch (kind) {
        case plain:
            add({"select", "temperature"});
            break;
        case baseline:
            add({"select", "temperature"});
            break;
        case mixed:
            add({"select", "temperature", "weight"});
            break;
        case tq:
            add(tilt), add(ahead), add(transfer);
            break;
        case block_tq:
            add(blocks), add(ahead), add(transfer), add({"proposer"});
            break;
        case controlled_decoding:
            add(tilt), add(ahead), keys.erase("anchor");
            break;
        case blockwise_cd:
            add(blocks), add(ahead);
            break;
        case args:
            add(tilt);
            break;
        case best_of_n:
            add({"n", "proposer", "proposal_temperature"});
            break;
        case speculative_rejection:
            add({"n", "block", "rejected", "proposer", "proposal_temperature"});
            break;
        case segment_rejection:
            add({"block", "attempts", "target", "start", "softness", "proposer",
                 "proposal_temperature"});
            break;
    }
    return keys;
}

setter_map method_setters(method_config& m, const std::filesystem::path& folder) {
    return {{"name", into(m.name, text)},
            {"label", into(m.label, text)},
            {"method", one_of(m.kind, kinds)},
            {"baseline",
             [&m, folder](const json& value, const std::string& where) {
                 read_baseline(value, where, folder, m.baseline);
             }},
            {"alpha",
             [&m](const json& value, const std::string& where) {
                 m.decode.alpha = m.block.alpha = number_or_inf(value, where);
             }},
            {"top_k",
             [&m](const json& value, const std::string& where) {
                 m.decode.top_k =
                     value == "all" ? tq::whole_vocabulary : up_to(1000 * million)(value, where);
             }},
            {"select",
             [&m](const json& value, const std::string& where) {
                 m.decode.select = m.block.select = choice(names::selections, value, where);
             }},
            {"temperature", into(m.decode.temperature, number)},
            {"anchor", one_of(m.on_policy, sides)},
            {"proposer", one_of(m.on_policy, sides)},
            {"race", one_of(m.decode.race, names::races)},
            {"token_budget", into(m.decode.token_budget, number_or_inf)},
            {"widen", into(m.decode.widen, flag)},
            {"horizon", into(m.rollout.horizon, up_to(million))},
            {"rollouts", into(m.rollout.rollouts, up_to(100 * thousand))},
            {"rollout_temperature", into(m.rollout.sampling.temperature, number)},
            {"transfer", one_of(m.transfer, transfers)},
            {"beta", into(m.beta, number)},
            {"weighting", one_of(m.weights.form, names::weightings)},
            {"on_collapse", one_of(m.weights.on_collapse, names::collapses)},
            {"block",
             [&m](const json& value, const std::string& where) {
                 m.block.block = m.segments.block =
                     value == "answer" ? tq::whole_answer : up_to(million)(value, where);
             }},
            {"candidates", into(m.block.candidates, up_to(100 * thousand))},
            {"proposal_temperature",
             [&m](const json& value, const std::string& where) {
                 m.block.proposal.temperature = m.segments.proposal.temperature =
                     number(value, where);
             }},
            {"n", into(m.n, up_to(100 * thousand))},
            {"rejected", into(m.rejected, number)},
            {"attempts", into(m.segments.attempts, up_to(million))},
            {"target", into(m.segments.target, number)},
            {"start", into(m.segments.start, number)},
            {"softness", into(m.segments.softness, number)},
            {"weight", into(m.weight, number)}};
}

/// The library's own checks of the options that this method uses.
void check_ranges(const method_config& m, const std::string& where) {
    using enum method_kind;
    switch (m.kind) {
        case plain:
        case baseline:
        case mixed:
        case args:
            tq::validate(m.decode, where);
            break;
        case tq:
        case controlled_decoding:
            tq::validate(m.decode, where), tq::validate(m.rollout, where);
            break;
        case block_tq:
        case blockwise_cd:
            tq::validate(m.block, where), tq::validate(m.rollout, where);
            break;
        case best_of_n:
            tq::check_option(m.n >= 1, where, "n", m.n, ">= 1");
            break;
        case speculative_rejection:
            tq::validate(
                tq::speculative_rejection_options{
                    .candidates = m.n, .block = m.block.block, .rejected = m.rejected},
                where);
            break;
        case segment_rejection:
            tq::validate(m.segments, where);
            break;
    }
    if (m.transfer != transfer_kind::direct)
        tq::check_option(m.beta > 0 && !m.rollout.sampling.greedy(), where, "beta", m.beta,
                         "> 0, with a rollout_temperature > 0");
    tq::check_option(std::isfinite(static_cast<float>(m.baseline.scale)), where, "scale",
                     m.baseline.scale, "finite");
    tq::check_option(m.baseline.alpha > 0, where, "baseline.alpha", m.baseline.alpha, "> 0");
    tq::check_option(m.baseline.n >= 1, where, "baseline.n", m.baseline.n, ">= 1");
    tq::check_option(m.baseline.written == writer::model ||
                         (m.kind == tq && m.transfer == transfer_kind::direct),
                     where, "baseline.written_by", "args or best_of_n",
                     "model, but for method tq with direct transfer");
}

method_config read_method(const json& object, const std::string& where, const config& all) {
    if (!object.is_object()) refuse(where, object, "an object");
    if (!object.contains("method")) throw tq::invalid_option{where + ": \"method\" is missing"};
    method_config m;
    m.kind = choice(kinds, object["method"], where + ".method");
    m.json = object;
    m.baseline.lora = m.kind == method_kind::plain ? "" : demo_defaults::baseline_lora();
    setter_map setters = method_setters(m, all.folder);
    const std::set<std::string> allowed = keys_of(m.kind);
    std::erase_if(setters, [&](const auto& entry) { return !allowed.contains(entry.first); });
    read_object(object, where, setters);
    if (m.name.empty()) m.name = object["method"].get<std::string>();
    if (m.label.empty()) m.label = m.name;
    const bool frozen = m.kind == method_kind::plain || m.kind == method_kind::baseline ||
                        m.kind == method_kind::mixed;
    if (frozen) {
        if (!object.contains("select")) m.decode.select = tq::selection::sample;
        m.decode.top_k = m.decode.select == tq::selection::argmax ? 1 : tq::whole_vocabulary;
        m.decode.race = tq::race_mode::exhaustive;
    }
    if (m.transfer != transfer_kind::direct) {
        if (!object.contains("rollout_temperature")) m.rollout.sampling.temperature = 1;
        if (!object.contains("alpha") && m.transfer == transfer_kind::soft)
            m.decode.alpha = m.block.alpha = m.beta;
    }
    check_ranges(m, where);
    return m;
}

/// A method whose numbers may be lists: all combinations, named by their values.
std::vector<method_config> read_sweep(const json& object, const std::string& where,
                                      const config& all) {
    std::vector<std::pair<json, std::string>> versions{{object, ""}};
    std::string swept;
    std::size_t lists = 0;
    if (object.is_object())
        for (const auto& [key, value] : object.items()) {
            if (!value.is_array()) continue;
            if (value.empty()) refuse(where + "." + key, value, "a value or a list of them");
            swept = key;
            ++lists;
            std::vector<std::pair<json, std::string>> more;
            for (const auto& [version, suffix] : versions)
                for (const json& item : value) {
                    more.emplace_back(
                        version,
                        suffix + "_" + (item.is_string() ? item.get<std::string>() : item.dump()));
                    more.back().first[key] = item;
                }
            versions = std::move(more);
        }
    std::vector<method_config> result;
    for (auto& [version, suffix] : versions) {
        method_config m = read_method(version, where, all);
        const std::string base = m.name;
        m.name += suffix;
        if (!suffix.empty()) m.label += fmt::format(" {}", suffix.substr(1));
        if (lists == 1) m.group = base + " by " + swept;
        m.json["name"] = m.name;
        result.push_back(std::move(m));
    }
    return result;
}

void read_judge(const json& value, const std::string& where, judge_config& judge) {
    read_object(value, where,
                setter_map{{"name", into(judge.name, text)},
                           {"command", into(judge.command, text)},
                           {"margin", into(judge.margin, number)},
                           {"pairs", into(judge.pairs, flag)}});
    if (judge.name.empty() || judge.command.empty())
        refuse(where, value, "an object with \"name\" and \"command\"");
    tq::check_option(judge.margin >= 0, where, "margin", judge.margin, ">= 0");
}

void check_config(const config& c, const std::string& where) {
    const auto positive = [&](const char* name, std::size_t value) {
        tq::check_option(value >= 1, where, name, value, ">= 1");
    };
    positive("limit", c.limit);
    positive("tokens", c.tokens);
    positive("seeds", c.seeds);
    positive("together", c.together);
    if (c.methods.empty()) throw tq::invalid_option{where + ".methods: must name at least one"};
    std::set<std::string> seen;
    for (const method_config& m : c.methods)
        if (!seen.insert(m.name).second)
            throw tq::invalid_option{fmt::format(
                "{}.methods: two are called \"{}\"; give them a \"name\"", where, m.name)};
    if (!c.prompt_format.empty() && c.prompt_format.find("{prompt}") == std::string::npos)
        refuse(where + ".prompt_format", c.prompt_format, "a text with {prompt} in it");
    if (!seen.contains(c.against))
        throw tq::invalid_option{
            fmt::format("{}.against = \"{}\", must be the name of a method", where, c.against)};
}

}  // namespace

bool method_config::deterministic() const {
    using enum method_kind;
    switch (kind) {
        case plain:
        case baseline:
        case mixed:
        case args:
            return decode.select == tq::selection::argmax;
        case tq:
        case controlled_decoding:
            return decode.select == tq::selection::argmax && rollout.sampling.greedy() &&
                   this->baseline.written != writer::best_of_n;
        default:
            return false;
    }
}

bool method_config::has_alpha() const { return keys_of(kind).contains("alpha"); }

const method_config& config::method(const std::string& wanted) const {
    return *std::ranges::find(methods, wanted, &method_config::name);
}

config read_config(const std::filesystem::path& file) {
    std::ifstream stream{file, std::ios::binary};
    bool all = false;
    if (!stream) throw tq::invalid_option{"cannot read the configuration " + file.string()};
    const std::string written =
        untrusted::read_up_to(stream, untrusted::longest_line, all, file.string());
    const std::size_t begin = written.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    const json whole =  // comments are allowed
        untrusted::parse_or_refuse(written, begin, written.size(), file.string(), true);
    config c;
    c.folder = std::filesystem::absolute(file).parent_path();
    const std::string where = file.filename().string();
    std::string prompt_file;
    const auto methods = [&](const json& list, const std::string& place) {
        if (!list.is_array()) refuse(place, list, "a list of methods");
        for (std::size_t i = 0; i < list.size(); ++i)
            for (method_config& m : read_sweep(list[i], fmt::format("{}[{}]", place, i), c))
                c.methods.push_back(std::move(m));
    };
    read_object(
        whole, where,
        setter_map{{"name", into(c.name, text)},
                   {"description", into(c.description, text)},
                   {"model", into(c.model, text)},
                   {"prompt_format", into(c.prompt_format, text)},
                   {"gpu_layers", into(c.gpu_layers, up_to(million))},
                   {"reward_name", into(c.reward_name, text)},
                   {"reward_model", into(c.reward_model, text)},
                   {"reward", into(c.reward, text)},
                   {"embedder", into(c.embedder, text)},
                   {"prompts", into(prompt_file, text)},
                   {"prompts_format", one_of(c.prompts_format, prompts::formats)},
                   {"context", into(c.context, up_to(1U << 29U, 128))},
                   {"first", into(c.first, up_to(1000 * million))},
                   {"limit", into(c.limit, up_to(million))},
                   {"tokens", into(c.tokens, up_to(million))},
                   {"seeds", into(c.seeds, up_to(100 * thousand))},
                   {"together", into(c.together, up_to(million))},
                   {"system", into(c.system, text)},
                   {"against", into(c.against, text)},
                   {"explored", into(c.explored, up_to(million))},
                   {"judge", [&](const json& value,
                                 const std::string& place) { read_judge(value, place, c.judge); }},
                   {"methods", methods}});
    if (c.name.empty()) c.name = file.stem().string();
    c.model = model_file(c.folder, c.model);
    c.reward = path_from(c.folder, c.reward);
    c.reward_model = model_file(c.folder, c.reward_model);
    c.embedder = path_from(c.folder, c.embedder);
    c.prompts = prompt_file.empty() ? demo_defaults::prompts() : path_from(c.folder, prompt_file);
    c.json = whole;
    for (const char* key : {"name", "description", "methods", "judge", "against", "embedder"})
        c.json.erase(key);
    check_config(c, where);
    return c;
}

void check_files(const config& c) {
    const auto there = [](const std::string& key, const std::string& file, bool gguf) {
        if (file.empty()) return;
        std::ifstream stream{file, std::ios::binary};
        char begin[4] = {};
        if (!stream.read(begin, sizeof begin))
            throw tq::invalid_option{
                fmt::format("{} = \"{}\", which cannot be read, or is too short", key, file)};
        if (gguf && std::string_view{begin, sizeof begin} != "GGUF")
            throw tq::invalid_option{fmt::format("{} = \"{}\", which is no GGUF file", key, file)};
    };
    const auto is_model = [&](const std::string& key, const std::string& name) {
        if (!name.empty()) there(key, demo_defaults::model_path(name), true);
    };
    there("model", demo_defaults::model_path(c.model), true);
    is_model("reward_model", c.reward_model);
    there("reward", c.reward, false);
    there("embedder", c.embedder, true);
    for (const method_config& m : c.methods) {
        is_model(m.name + ": baseline.model", m.baseline.model);
        there(m.name + ": baseline.lora", m.baseline.lora, true);
    }
    const std::string program =
        c.judge.command.substr(0, c.judge.command.find_first_of(" \t;|&<>"));
    if (program.find('/') != program.npos && program.find_first_of("$~'\"`(*") == program.npos &&
        !std::filesystem::exists(c.folder / program))
        throw tq::invalid_option{fmt::format("judge.command: there is no {}", program)};
}

std::vector<prompt> read_prompts(const config& c) {
    std::vector<prompt> result = prompts::read(c.prompts, c.prompts_format, c.first, c.limit);
    if (result.size() < c.limit)
        throw tq::invalid_option{
            fmt::format("{}: only {} prompts from number {} on, {} are wanted (the key limit)",
                        c.prompts.string(), result.size(), c.first, c.limit)};
    return result;
}

}  // namespace evaluation
