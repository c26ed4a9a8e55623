#include "journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <utility>

#include "../support/untrusted.hpp"
#include "identity.hpp"

namespace evaluation {
namespace {

using nlohmann::json;

constexpr int format = 2;

json to_line(const answer& a) {
    json line{
        {"method", a.key.method},
        {"seed", a.key.seed},
        {"prompt", a.key.prompt},
        {"text", a.text},
        {"tokens", a.tokens},
        {"finished", a.finished},
        {"reward", a.reward},
        {"kl", a.kl},
        {"spent",
         {{"policy", a.spent.policy}, {"baseline", a.spent.baseline}, {"reward", a.spent.reward}}}};
    if (!a.steps.is_null()) line["steps"] = a.steps;
    return line;
}

const json& field(const json& line, const char* name, bool ok(const json&), const char* wanted) {
    const auto found = line.find(name);
    if (found == line.end() || !ok(*found))
        throw tq::invalid_option{
            fmt::format("its \"{}\" is {}, must be {}", name,
                        found == line.end() ? "missing" : found->dump().substr(0, 60), wanted)};
    return *found;
}
bool is_count(const json& x) { return x.is_number_unsigned() && x < (std::uint64_t{1} << 53); }
bool is_number(const json& x) { return x.is_number() && std::isfinite(x.get<double>()); }

std::size_t count_of(const json& line, const char* name) {
    return field(line, name, is_count, "a whole number").get<std::size_t>();
}

/// Are these steps that the token explorer can show?
bool are_steps(const json& steps) {
    const auto is_step = [](const json& step) {
        return step.is_object() && step.contains("candidates") && step["candidates"].is_array() &&
               !step["candidates"].empty() &&
               std::ranges::all_of(step["candidates"], [](const json& c) { return c.is_object(); });
    };
    return steps.is_array() && std::ranges::all_of(steps, is_step);
}

answer from_line(const json& line, const config& config) {
    const auto is_text = [](const json& x) { return x.is_string(); };
    answer a;
    a.key = {field(line, "method", is_text, "a name").get<std::string>(), count_of(line, "seed"),
             count_of(line, "prompt")};
    if (a.key.prompt >= config.limit || a.key.seed >= config.seeds)
        throw tq::invalid_option{"its prompt or seed is none of the configuration's"};
    a.text = field(line, "text", is_text, "a text").get<std::string>();
    for (const json& token : field(
             line, "tokens", [](const json& x) { return x.is_array(); }, "a list of tokens")) {
        if (!is_count(token) || token > std::numeric_limits<tq::token_id>::max())
            throw tq::invalid_option{fmt::format("token {}, must be in [0, 2^31)", token.dump())};
        a.tokens.push_back(token.get<tq::token_id>());
    }
    if (a.tokens.size() > config.tokens)
        throw tq::invalid_option{"it has more tokens than an answer may"};
    a.finished = field(
        line, "finished", [](const json& x) { return x.is_boolean(); }, "true or false");
    a.reward = field(line, "reward", is_number, "a number");
    const json& kl = field(
        line, "kl", [](const json& x) { return x.is_null() || is_number(x); }, "a number or null");
    a.kl = kl.is_null() ? std::nan("") : kl.get<double>();
    const json& spent = field(
        line, "spent", [](const json& x) { return x.is_object(); }, "an object");
    a.spent = {.policy = count_of(spent, "policy"),
               .baseline = count_of(spent, "baseline"),
               .reward = count_of(spent, "reward")};
    if (line.contains("steps")) a.steps = field(line, "steps", are_steps, "a list of steps");
    return a;
}

[[noreturn]] void cannot(const char* what, const std::filesystem::path& path) {
    throw tq::backend_error{
        fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno))};
}

}  // namespace

journal::journal(const std::filesystem::path& file, const config& config, json made_by,
                 journal_use use)
    : path_{file},
      use_{use},
      made_by_(std::move(made_by)),  // braces would make a list of it
      last_made_by_(made_by_) {
    if (use == journal_use::report) {
        read(config);
        return;
    }
    lock();
    read(config);
    if (std::filesystem::file_size(path_) == 0)
        append({{"journal", format}, {"config", config.json}, {"made_by", made_by_}});
    else if (last_made_by_ != made_by_)
        append({{"made_by", made_by_}});
}

journal::descriptor::~descriptor() {
    if (number >= 0) ::close(number);
}

/// The lock is the system's: it goes with the program, however that ends.
void journal::lock() {
    file_.number = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file_.number < 0) cannot("write", path_);
    if (::flock(file_.number, LOCK_EX | LOCK_NB) == 0) return;
    if (errno != EWOULDBLOCK) cannot("lock", path_);
    throw tq::backend_error{path_.string() +
                            ": another program is writing it; --report shows what it has so far"};
}

void journal::read(const config& config) {
    std::ifstream stream{path_, std::ios::binary};
    if (!stream) cannot("read", path_);
    std::string line;
    std::size_t number = 0;
    std::uintmax_t good = 0;  // bytes of whole lines
    while (untrusted::read_line(stream, line, path_.string())) {
        ++number;
        if (stream.eof()) break;  // no new line at its end: torn, or being written
        const json parsed = untrusted::parse_json(line);
        try {
            if (!parsed.is_object()) throw tq::invalid_option{"it is not JSON"};
            if (number == 1)
                read_header(parsed, config);
            else
                read_line(parsed, config);
        } catch (const std::exception& error) {
            throw tq::invalid_option{
                fmt::format("{}:{}: {}", path_.string(), number, error.what())};
        }
        good += line.size() + 1;
    }
    if (good > 0) check_maker();
    if (good == 0 && use_ == journal_use::report)
        throw tq::invalid_option{path_.string() + ": nothing is in it yet"};
    if (file_.number >= 0 && good != std::filesystem::file_size(path_) &&
        ::ftruncate(file_.number, static_cast<off_t>(good)) != 0)
        cannot("write", path_);
}

void journal::read_header(const json& line, const config& config) {
    if (line.value("journal", json{}) != format || !line.contains("config") ||
        !line.contains("made_by") || !line["made_by"].is_object())
        throw tq::invalid_option{fmt::format(
            "it is no journal of version {}; choose another --out, or remove it", format)};
    if (line["config"] != config.json)
        throw tq::invalid_option{"it belongs to another configuration, which differs in " +
                                 differences(line["config"], config.json) +
                                 "; choose another --out, or remove it"};
    last_made_by_ = line["made_by"];
}

void journal::read_line(const json& line, const config& config) {
    if (line.contains("journal")) throw tq::invalid_option{"it is a second header"};
    if (line.contains("made_by")) {
        const json& made_by = field(
            line, "made_by", [](const json& x) { return x.is_object(); }, "an object");
        for (const auto& [key, value] : made_by.items())
            if (last_made_by_.value(key, json{}) != value) mixed_.insert(key);
        last_made_by_ = made_by;
    } else if (line.contains("begin")) {
        mark(field(
                 line["begin"], "name", [](const json& x) { return x.is_string(); }, "a name"),
             {line["begin"], line.value("files", json::object())});
    } else {
        answer a = from_line(line, config);
        const answer_key key = a.key;
        if (!answers_.emplace(key, std::move(a)).second)
            throw tq::invalid_option{"it has this answer twice"};
    }
}

void journal::mark(const std::string& name, method_mark now) {
    const auto known = methods_.find(name);
    if (known != methods_.end())
        for (const auto& [key, value] : now.files.items())
            if (known->second.files.value(key, json{}) != value) mixed_.insert(name + ": " + key);
    methods_[name] = std::move(now);
}

/// A report is of answers that are there: who made them matters no more, but their prompts and models do.
void journal::check_maker() {
    std::string names;
    for (const auto& [key, value] : made_by_.items())
        if (last_made_by_.value(key, json{}) != value &&
            (use_ != journal_use::report || (key != "threads" && key != "build"))) {
            names += (names.empty() ? "" : ", ") + key;
            mixed_.insert(key);
        }
    if (names.empty() || use_ == journal_use::mix) return;
    throw tq::invalid_option{fmt::format(
        "{}: not what its answers were made with: {}; choose another --out, or go on with "
        "--mix",
        path_.string(), names)};
}

const answer* journal::find(const answer_key& key) const {
    const auto found = answers_.find(key);
    return found == answers_.end() ? nullptr : &found->second;
}

void journal::add(answer a) {
    append(to_line(a));
    answers_[a.key] = std::move(a);
}

void journal::check(const method_config& method) const {
    const auto known = methods_.find(method.name);
    if (known == methods_.end()) return;
    if (known->second.options != method.json)
        throw tq::invalid_option{fmt::format(
            "{}: its answers of \"{}\" were decoded with other options, which differ in {}; "
            "give the method another name, or choose another --out",
            path_.string(), method.name, differences(known->second.options, method.json))};
    const json now = identity_of(method);
    if (known->second.files != now && use_ != journal_use::mix)
        throw tq::invalid_option{
            fmt::format("{}: not what its answers of \"{}\" were made with: {}; give the method "
                        "another name, choose "
                        "another --out, or go on with --mix",
                        path_.string(), method.name, differences(known->second.files, now))};
}

void journal::begin(const method_config& method) {
    method_mark now{method.json, identity_of(method)};
    if (const auto known = methods_.find(method.name);
        known != methods_.end() && known->second.files == now.files)
        return;
    append({{"begin", now.options}, {"files", now.files}});
    mark(method.name, std::move(now));
}

void journal::append(const json& line) {
    const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    if (text.size() > untrusted::longest_line)  // it could not be read again
        throw tq::backend_error{
            fmt::format("{}: a line of more than {} MiB; record fewer steps (the key "
                        "explored) or candidates",
                        path_.string(), untrusted::longest_line >> 20)};
    std::string_view rest = text;
    while (!rest.empty()) {
        const ssize_t written = ::write(file_.number, rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) cannot("write", path_);
        rest.remove_prefix(static_cast<std::size_t>(written));
    }
    if (::fsync(file_.number) != 0 && errno != EINVAL) cannot("write", path_);
}

void append_timing(const std::filesystem::path& file, const timing& t) {
    std::ofstream stream{file, std::ios::app};
    stream << json{{"method", t.method},
                   {"seconds", t.seconds},
                   {"emitted", t.emitted},
                   {"decoded", t.decoded}}
                  .dump()
           << '\n';
    if (!stream.flush()) cannot("write", file);
}

std::map<std::string, timing> read_timings(const std::filesystem::path& file) {
    std::map<std::string, timing> sums;
    std::ifstream stream{file};
    for (std::string line; untrusted::read_line(stream, line, file.string());) {
        const json parsed = untrusted::parse_json(line);
        try {
            const timing one{.method = parsed.at("method"),
                             .seconds = parsed.at("seconds"),
                             .emitted = parsed.at("emitted"),
                             .decoded = parsed.at("decoded")};
            timing& sum = sums[one.method];
            sum.seconds += one.seconds;
            sum.emitted += one.emitted;
            sum.decoded += one.decoded;
        } catch (const json::exception&) {  // torn, or not ours: times are no results
        }
    }
    return sums;
}

}  // namespace evaluation
