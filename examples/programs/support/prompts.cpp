#include "prompts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <tq/core/error.hpp>
#include <utility>

#include "untrusted.hpp"
#include "utf8.hpp"

namespace prompts {
namespace {

using nlohmann::json;
using std::string_view;

constexpr std::size_t largest_part = std::size_t{256} << 20;  // bytes of a file that are read
constexpr string_view blanks = " \t\r\n";
constexpr auto npos = string_view::npos;

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
    throw tq::invalid_option{where + ": " + why};
}

string_view trimmed(string_view text) {
    const auto begin = text.find_first_not_of(blanks);
    return begin == npos ? string_view{}
                         : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

/// A turn; refused if it has nothing to say.
turn checked(std::string role, std::string text, const std::string& where) {
    if (trimmed(text).empty()) refuse(where, "a prompt, or a turn of one, that is empty");
    if (text.find('\0') != npos) refuse(where, "a text with a NUL");
    if (text.size() > untrusted::longest_line)
        refuse(where, fmt::format("a prompt of more than {} MiB", untrusted::longest_line >> 20));
    return {std::move(role), std::move(text)};
}

/// Without what follows the user's last turn.
prompt up_to_user(std::vector<turn> turns, const std::string& where) {
    while (!turns.empty() && turns.back().role != "user") turns.pop_back();
    if (turns.empty()) refuse(where, "a conversation without a turn of the user's");
    return {std::move(turns)};
}

/// HH-RLHF's form. "Human:" alone may stand in any text.
bool is_dialogue(string_view text) {
    return text.starts_with("\n\nHuman:") ||
           (trimmed(text).starts_with("Human:") && trimmed(text).ends_with("Assistant:"));
}

prompt of_dialogue(string_view text, const std::string& where) {
    const std::string whole = "\n\n" + std::string{trimmed(text)};
    const auto next = [&](std::size_t from) {
        return std::min(whole.find("\n\nHuman:", from), whole.find("\n\nAssistant:", from));
    };
    std::vector<turn> turns;
    for (std::size_t at = 0; at != npos;) {
        const std::size_t text_at = whole.find(':', at) + 1, end = next(text_at);
        const bool human = whole.compare(at, 8, "\n\nHuman:") == 0;
        const auto said = trimmed(string_view{whole}.substr(text_at, end - text_at));
        if (!said.empty() || human)
            turns.push_back(checked(human ? "user" : "assistant", std::string{said}, where));
        at = end;
    }
    return up_to_user(std::move(turns), where);
}

/// A text, or the texts of a message's parts.
std::string text_of(const json& value, const std::string& where) {
    if (value.is_string()) return value.get<std::string>();
    std::string text;
    if (value.is_array() && !value.empty())
        for (const json& part : value) {
            if (!part.is_object() || !part.contains("text") || !part["text"].is_string())
                refuse(where, "a message with a part that is no text");
            text += part["text"].get<std::string>();
        }
    else
        refuse(where, fmt::format("{} in the place of a text", value.type_name()));
    return text;
}

bool is_message(const json& value) {
    return value.is_object() && ((value.contains("role") && value.contains("content")) ||
                                 (value.contains("from") && value.contains("value")));
}

std::string role_of(const json& value, const std::string& where) {
    static const std::map<string_view, const char*> roles{
        {"system", "system"},    {"developer", "system"}, {"user", "user"},
        {"human", "user"},       {"prompter", "user"},    {"assistant", "assistant"},
        {"gpt", "assistant"},    {"model", "assistant"},  {"bot", "assistant"},
        {"chatgpt", "assistant"}};
    const std::string role = value.is_string() ? value.get<std::string>() : value.dump();
    const auto known = roles.find(role);
    if (known == roles.end())
        refuse(where, fmt::format("a message by \"{}\"; known are system, user and assistant (in "
                                  "ShareGPT human and gpt)",
                                  role));
    return known->second;
}

prompt of_messages(const json& list, const std::string& where) {
    std::vector<turn> turns;
    for (const json& message : list) {
        if (!is_message(message))
            refuse(where, "a list of messages with one that lacks \"role\" and \"content\"");
        const bool share = !message.contains("role");
        std::string role = role_of(message[share ? "from" : "role"], where);
        std::string text = text_of(message[share ? "value" : "content"], where);
        if (role == "system" && trimmed(text).empty()) continue;
        if (role == "assistant" && trimmed(text).empty() && &message == &list.back()) continue;
        turns.push_back(checked(std::move(role), std::move(text), where));
    }
    return up_to_user(std::move(turns), where);
}

/// A text, a dialogue or a list of messages.
prompt of_any(const json& value, const std::string& where) {
    if (value.is_array()) return of_messages(value, where);
    std::string text = text_of(value, where);
    if (is_dialogue(text)) return of_dialogue(text, where);
    return {{checked("user", std::move(text), where)}};
}

/// The text under `key`; empty if there is none.
std::string beside(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

prompt of_object(const json& object, const std::string& where) {
    const auto finish = [&](prompt p) {
        std::string system = beside(object, "system");
        if (system.empty()) system = beside(object, "system_prompt");
        if (!trimmed(system).empty() && p.turns.front().role != "system")
            p.turns.insert(p.turns.begin(), checked("system", std::move(system), where));
        return p;
    };
    for (const char* key : {"prompt", "messages", "conversations", "conversation"})
        if (object.contains(key))
            return finish(of_any(object[key], fmt::format("{}: {}", where, key)));
    for (const char* key : {"instruction", "question"}) {
        if (!object.contains(key)) continue;
        std::string text = text_of(object[key], fmt::format("{}: {}", where, key));
        for (const char* more : {"input", "context"})
            if (const std::string given = beside(object, more); !trimmed(given).empty())
                text += "\n\n" + given;
        return finish({{checked("user", std::move(text), where)}});
    }
    if (object.contains("chosen")) {
        const json& chosen = object["chosen"];
        if (!chosen.is_string()) return finish(of_any(chosen, where + ": chosen"));
        const std::string whole = chosen.get<std::string>();
        if (!trimmed(whole).starts_with("Human:"))
            refuse(where,
                   "\"chosen\" without a \"prompt\" must be a dialogue, \"\\n\\nHuman: ...\"");
        return finish(of_dialogue(whole, where + ": chosen"));
    }
    std::string keys;
    for (const auto& [key, value] : object.items())
        keys += (keys.empty() ? "" : ", ") +
                json(key.substr(0, 40)).dump(-1, ' ', false, json::error_handler_t::replace);
    refuse(where, fmt::format("no prompt among its keys {}; read are \"prompt\", \"messages\", "
                              "\"conversations\", \"instruction\", \"question\" and \"chosen\"",
                              keys.empty() ? "(none)" : keys.substr(0, 400)));
}

prompt of_value(const json& value, const std::string& where) {
    if (value.is_object()) return of_object(value, where);
    return of_any(value, where);
}

/// Where the JSON value ends that begins at `begin`, by its quotes and brackets; npos if it does not.
std::size_t end_of_value(string_view text, std::size_t begin) {
    std::size_t depth = 0;
    for (std::size_t i = begin; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"') {
            for (++i; i < text.size() && text[i] != '"'; ++i)
                if (text[i] == '\\') ++i;
            if (i >= text.size()) return npos;
            if (depth == 0) return i + 1;
        } else if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            if (depth <= 1) return i + 1;
            --depth;
        } else if (depth == 0 && blanks.find(c) != npos) {
            return i;
        }
    }
    return depth == 0 ? text.size() : npos;
}

/// Does a line of plain text, from `begin` on, begin like JSON and hold nothing else?
bool is_json_line(string_view text, std::size_t begin) {
    const auto next = text.find_first_not_of(blanks, begin + 1);
    const char inner = next == npos ? '\0' : text[next];
    const bool object = text[begin] == '{' && (inner == '"' || inner == '}'),
               list =
                   text[begin] == '[' && inner != '\0' && string_view{"{\"[]"}.find(inner) != npos;
    if (!object && !list) return false;
    const auto end = end_of_value(text, begin);
    if (end == npos) return true;  // a broken one
    const auto rest = text.find_first_not_of(" \t\r", end);
    return rest == npos || string_view{"\n,{["}.find(text[rest]) != npos;
}

/// What a file has, so far as it is read.
struct contents {
    std::string name, text;
    bool whole = true;
};

contents load(const std::filesystem::path& file) {
    const bool standard_input = file == "-";
    contents result{.name = standard_input ? "standard input" : file.string(), .text = {}};
    std::ifstream opened;
    if (!standard_input) opened.open(file, std::ios::binary);
    std::istream& stream = standard_input ? std::cin : opened;
    if (!stream) refuse("prompts", "cannot read " + result.name);
    result.text = untrusted::read_up_to(stream, largest_part, result.whole, result.name);
    return result;
}

/// Refuses what is not UTF-8 text with line ends of LF or CR LF, by its name.
void check_text(const contents& file) {
    const string_view text = file.text;
    const auto refuse_at = [&](std::size_t at, const char* why) {
        refuse(fmt::format("{}:{}", file.name, untrusted::place_of(text, at)), why);
    };
    for (const string_view mark : {"\xFF\xFE", "\xFE\xFF"})
        if (text.starts_with(mark)) refuse(file.name, "UTF-16 text; save it as UTF-8");
    if (const auto nul = text.find('\0'); nul != npos)
        refuse_at(nul, "a NUL: the file is no text, or UTF-16, which is to be saved as UTF-8");
    for (auto cr = text.find('\r'); cr != npos; cr = text.find('\r', cr + 1))
        if (cr + 1 < text.size() && text[cr + 1] != '\n')
            refuse_at(cr, "a line that ends in CR alone; save it with line ends of LF or CR LF");
    const auto wrong = utf8::first_wrong(text);
    if (wrong != npos && (file.whole || wrong + 4 <= text.size()))
        refuse_at(wrong, "a byte that is no UTF-8; save the file as UTF-8");
}

bool reads_as_json(const contents& file, std::size_t begin, const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    std::ranges::transform(extension, extension.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    for (const char* table : {".csv", ".tsv", ".parquet", ".arrow", ".xlsx"})
        if (extension == table)
            refuse(file.name,
                   "a table; read are plain text and JSON (--prompts-format, or the key "
                   "prompts_format, text takes its lines as they are)");
    for (const char* known : {".json", ".jsonl", ".ndjson"})
        if (extension == known) return true;
    return is_json_line(file.text, begin);
}

/// Collects the wanted ones.
class collector {
public:
    collector(std::size_t first, std::size_t limit) : first_{first}, limit_{limit} {}
    [[nodiscard]] bool full() const { return found.size() >= limit_; }
    template <class Make>
    void add(Make make) {
        if (seen_++ >= first_ && !full()) found.push_back(make());
    }
    std::vector<prompt> found;

private:
    std::size_t first_, limit_, seen_ = 0;
};

json parsed(const contents& file, std::size_t begin, std::size_t end) {
    try {
        return untrusted::parse_or_refuse(file.text, begin, end, file.name);
    } catch (const tq::invalid_option& error) {
        throw tq::invalid_option{
            std::string{error.what()} +
            " (--prompts-format, or the key prompts_format, text takes the lines "
            "as they are)"};
    }
}

void read_json(const contents& file, std::size_t begin, collector& all) {
    const string_view text = file.text;
    for (std::size_t at = text.find_first_not_of(blanks, begin); at != npos && !all.full();) {
        std::size_t end = end_of_value(text, at);
        if (end == npos && !file.whole) return;
        end = std::min(end, text.size());
        const json value = parsed(file, at, end);
        const std::string where = fmt::format("{}:{}", file.name, untrusted::place_of(text, at));
        const json* list = value.is_array() && !(value.size() > 0 && is_message(value[0])) ? &value
                           : value.is_object() && value.contains("prompts") ? &value["prompts"]
                                                                            : nullptr;
        if (list == nullptr) {
            all.add([&] { return of_value(value, where); });
        } else if (!list->is_array()) {
            refuse(where, "\"prompts\" must be a list");
        } else {
            std::size_t number = 0;
            for (const json& entry : *list) {
                ++number;
                all.add(
                    [&] { return of_value(entry, fmt::format("{}: entry {}", where, number)); });
            }
        }
        at = text.find_first_not_of(blanks, end);
    }
}

void read_lines(const contents& file, std::size_t begin, bool guard, collector& all) {
    const string_view text = file.text;
    for (std::size_t at = begin; at < text.size() && !all.full();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        if (end == text.size() && !file.whole && end - at <= untrusted::longest_line) return;
        string_view line = text.substr(at, end - at);
        if (line.ends_with('\r')) line.remove_suffix(1);
        const auto start = line.find_first_not_of(" \t");
        const auto where = [&, at] {
            return fmt::format("{}:{}", file.name, untrusted::place_of(text, at));
        };
        if (start != npos) {
            if (guard && line[start] == '{' && is_json_line(line, start))
                refuse(where(),
                       "a JSON object among lines of plain text; --prompts-format (or the key "
                       "prompts_format) says which of both the file is");
            all.add([&] { return prompt{{checked("user", std::string{line}, where())}}; });
        }
        at = end + 1;
    }
}

}  // namespace

std::string prompt::text() const {
    std::vector<const turn*> said;
    for (const turn& t : turns)
        if (t.role != "system") said.push_back(&t);
    if (said.size() == 1) return said.front()->text;
    std::string result;
    for (const turn* t : said)
        result += fmt::format("{}{}: {}", result.empty() ? "" : "\n\n",
                              t->role == "user" ? "Human" : "Assistant", t->text);
    return result;
}

prompt of_text(std::string text) {
    if (utf8::first_wrong(text) != npos) refuse("prompt", "a byte that is no UTF-8");
    return {{checked("user", std::move(text), "prompt")}};
}

std::vector<prompt> read(const std::filesystem::path& path, format as, std::size_t first,
                         std::size_t limit) {
    const contents file = load(path);
    check_text(file);
    const std::size_t begin = string_view{file.text}.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    const std::size_t start = file.text.find_first_not_of(blanks, begin);
    collector all{first, limit};
    if (start != npos) {
        if (as == format::json || (as == format::automatic && reads_as_json(file, start, path)))
            read_json(file, begin, all);
        else
            read_lines(file, begin, as == format::automatic, all);
    }
    if (!file.whole && !all.full())
        refuse(file.name, fmt::format("no more than its first {} MiB are read, which have too few "
                                      "prompts",
                                      largest_part >> 20));
    return std::move(all.found);
}

}  // namespace prompts
