#include "journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <utility>

#include "../support/untrusted.hpp"

namespace evaluation {
namespace {

using nlohmann::json;

constexpr int format = 1;

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

answer from_line(const json& line) {
    answer a;
    a.key = {line.at("method").get<std::string>(), line.at("seed").get<std::size_t>(),
             line.at("prompt").get<std::size_t>()};
    a.text = line.at("text").get<std::string>();
    a.tokens = line.at("tokens").get<tq::token_list>();
    a.finished = line.at("finished").get<bool>();
    a.reward = line.at("reward").get<double>();
    a.kl = line.at("kl").is_null() ? std::nan("") : line.at("kl").get<double>();
    const json& spent = line.at("spent");
    a.spent = {.policy = spent.at("policy").get<std::size_t>(),
               .baseline = spent.at("baseline").get<std::size_t>(),
               .reward = spent.at("reward").get<std::size_t>()};
    if (line.contains("steps")) a.steps = line["steps"];
    return a;
}

[[noreturn]] void cannot(const char* what, const std::filesystem::path& path) {
    throw tq::backend_error{
        fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno))};
}

/// The keys on which two configurations differ.
std::string differences(const json& a, const json& b) {
    std::string names;
    const json patch = json::diff(a, b);
    for (const json& change : patch)
        names += (names.empty() ? "" : ", ") + change["path"].get<std::string>();
    return names;
}

}  // namespace

journal::journal(const std::filesystem::path& file, const config& config) : path_{file} {
    const bool fresh = !std::filesystem::exists(file) || std::filesystem::file_size(file) == 0;
    if (!fresh) read(config);
    file_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (file_ < 0) cannot("write", file);
    if (fresh || std::filesystem::file_size(file) == 0)
        append({{"journal", format}, {"config", config.json}});
}

journal::~journal() {
    if (file_ >= 0) ::close(file_);
}

void journal::read(const config& config) {
    std::ifstream stream{path_, std::ios::binary};
    if (!stream) cannot("read", path_);
    std::string line;
    std::size_t number = 0;
    std::uintmax_t good = 0;  // bytes of whole lines
    while (untrusted::read_line(stream, line, path_.string())) {
        ++number;
        if (stream.eof()) break;  // no new line at its end: torn
        const json parsed = untrusted::parse_json(line);
        try {
            if (parsed.is_discarded()) throw tq::invalid_option{"it is not JSON"};
            if (number == 1) {
                if (parsed.at("journal") != format)
                    throw tq::invalid_option{"it is of another version"};
                if (parsed.at("config") != config.json)
                    throw tq::invalid_option{
                        "it belongs to another configuration, which differs in " +
                        differences(parsed.at("config"), config.json) +
                        "; choose another --out, or remove it"};
            } else if (parsed.contains("begin")) {
                methods_[parsed["begin"].at("name").get<std::string>()] = parsed["begin"];
            } else {
                answer a = from_line(parsed);
                answers_[a.key] = std::move(a);
            }
        } catch (const std::exception& error) {
            throw tq::invalid_option{
                fmt::format("{}:{}: {}", path_.string(), number, error.what())};
        }
        good += line.size() + 1;
    }
    if (good != std::filesystem::file_size(path_)) std::filesystem::resize_file(path_, good);
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
    if (known == methods_.end() || known->second == method.json) return;
    throw tq::invalid_option{fmt::format(
        "{}: its answers of \"{}\" were decoded with other options, which differ in {}; "
        "give the method another name, or choose another --out",
        path_.string(), method.name, differences(known->second, method.json))};
}

void journal::begin(const method_config& method) {
    if (!methods_.emplace(method.name, method.json).second) return;
    append({{"begin", method.json}});
}

void journal::append(const json& line) {
    const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    std::string_view rest = text;
    while (!rest.empty()) {
        const ssize_t written = ::write(file_, rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) cannot("write", path_);
        rest.remove_prefix(static_cast<std::size_t>(written));
    }
    if (::fsync(file_) != 0 && errno != EINVAL) cannot("write", path_);
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
