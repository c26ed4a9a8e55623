#pragma once
// Prompts from files, in the forms in which data sets publish them.

#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace prompts {

/// How a file is read. Automatic: as JSON if it is called so (.json, .jsonl, .ndjson) or begins so.
enum class format { automatic, text, json };
inline const std::map<std::string, format> formats{
    {"auto", format::automatic}, {"text", format::text}, {"json", format::json}};

struct turn {
    std::string role;  ///< system, user or assistant
    std::string text;
};

/// A conversation; its last turn is the user's.
struct prompt {
    std::vector<turn> turns;

    /// What the user says; of a longer conversation "Human: ...\n\nAssistant: ...\n\nHuman: ...". System
    /// turns are left out.
    [[nodiscard]] std::string text() const;
};

/// One turn of the user's.
[[nodiscard]] prompt of_text(std::string text);

/// The prompts [first, first + limit) of a file, or of standard input if it is "-"; fewer if it has no
/// more.
///
///  * Plain text: a prompt a line.
///  * JSON: values one after the other (JSON lines, indented or not), or in one list. A value is a text, a
///    list of messages, or an object with `prompt` (text, dialogue or messages), `messages` (OpenAI),
///    `conversations` (ShareGPT), `instruction` or `question` (with `input` or `context`), or `chosen`
///    (HH-RLHF); `system` beside it is the system turn. Of a conversation all is taken up to the last turn
///    of the user's. A text is a dialogue if it has HH-RLHF's form: "\n\nHuman: ...\n\nAssistant:".
///
/// Blank lines are skipped and a mark of UTF-8 is. Throws tq::invalid_option, which names file and place:
/// UTF-16, NULs, bytes that are no UTF-8, lines that end in CR alone, tables, what is not JSON, an object
/// without a prompt and its keys, an empty prompt; a JSON object among plain lines.
[[nodiscard]] std::vector<prompt> read(const std::filesystem::path& file, format as,
                                       std::size_t first = 0,
                                       std::size_t limit = std::numeric_limits<std::size_t>::max());

}  // namespace prompts
