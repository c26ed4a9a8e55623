#pragma once
// Finished answers on disk: nothing that was decoded is decoded again.

#include <cstddef>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tq/tq.hpp>
#include <tuple>
#include <vector>

#include "config.hpp"

namespace evaluation {

/// Which answer: the same key, the same answer.
struct answer_key {
    std::string method;
    std::size_t seed = 0, prompt = 0;

    friend auto operator<=>(const answer_key&, const answer_key&) = default;
};

/// A finished answer.
struct answer {
    answer_key key;
    std::string text;
    tq::token_list tokens;  // end token left out
    bool finished = false;  // ended by the model, not by the limit
    double reward = 0;
    double kl = 0;  // from the policy along the answer, nats; NaN = unknown
    tq::model_tokens spent;
    nlohmann::json steps = {};  // of the explorer; null = not recorded
};

/// What a journal is opened for.
enum class journal_use {
    write,   ///< by what has made it
    mix,     ///< the same, though something else has made it
    report,  ///< nothing is written, and another program may be writing it
};

/// A file of JSON lines: what the configuration was and what made it (identity_of), then answers in the
/// order in which they were finished, each written through to the disk. A line that was torn by a crash is
/// dropped and its answer decoded again. One program at a time may write it.
class journal {
public:
    /// Opens or begins it. Throws tq::invalid_option if the file belongs to another configuration, was
    /// made by something else, or holds lines that are not its own, naming the line;
    /// tq::backend_error if it cannot be written, or another program is writing it.
    journal(const std::filesystem::path& file, const config& config, nlohmann::json made_by,
            journal_use use = journal_use::write);
    ~journal() = default;
    journal(const journal&) = delete;
    journal& operator=(const journal&) = delete;

    [[nodiscard]] const answer* find(const answer_key& key) const;
    /// Adds an answer and writes it through. Throws tq::backend_error if that fails, and names why.
    void add(answer answer);
    /// Throws tq::invalid_option unless a method is what it was when its first answer was written.
    void check(const method_config& method) const;
    /// Notes down what a method is, before its first answer.
    void begin(const method_config& method);

    [[nodiscard]] const std::map<answer_key, answer>& answers() const noexcept { return answers_; }
    /// What its answers were made with that was not always the same; empty = nothing.
    [[nodiscard]] const std::set<std::string>& mixed() const noexcept { return mixed_; }

private:
    /// An open file, which its end closes.
    struct descriptor {
        int number = -1;
        descriptor() = default;
        descriptor(const descriptor&) = delete;
        descriptor& operator=(const descriptor&) = delete;
        ~descriptor();
    };
    /// A method's options and the digests of its files.
    struct method_mark {
        nlohmann::json options, files;
    };

    void lock();
    void read(const config& config);
    void read_header(const nlohmann::json& line, const config& config);
    void read_line(const nlohmann::json& line, const config& config);
    void mark(const std::string& name, method_mark now);
    void check_maker();
    void append(const nlohmann::json& line);

    std::filesystem::path path_;
    journal_use use_;
    descriptor file_;  // none if nothing is written
    nlohmann::json made_by_, last_made_by_;
    std::map<std::string, method_mark> methods_;
    std::map<answer_key, answer> answers_;
    std::set<std::string> mixed_;
};

/// What does not belong into the journal, since it differs from run to run: one line per piece of work.
struct timing {
    std::string method;
    double seconds = 0;
    std::size_t emitted = 0, decoded = 0;  // tokens of the answers; tokens that went through models
};
void append_timing(const std::filesystem::path& file, const timing& timing);
/// Sums by method; lines that are torn or of another form are left out.
[[nodiscard]] std::map<std::string, timing> read_timings(const std::filesystem::path& file);

}  // namespace evaluation
