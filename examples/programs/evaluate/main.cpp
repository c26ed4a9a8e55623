// evaluate: methods of decoding, compared on the same prompts.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "../support/command_line.hpp"
#include "../support/defaults.hpp"
#include "../support/interrupt.hpp"
#include "../support/program.hpp"
#include "../support/utf8.hpp"
#include "config.hpp"
#include "decode.hpp"
#include "identity.hpp"
#include "journal.hpp"
#include "measure.hpp"
#include "report_page.hpp"
#include "results.hpp"

namespace {

struct arguments {
    std::string config, out;
    std::size_t threads = demo_defaults::threads();
    bool check = false, report = false, mix = false;
};

arguments read_arguments(int argc, char** argv) {
    arguments args;
    CLI::App app{
        "Compares ways to decode on the same prompts. Finished answers are kept in "
        "OUT/journal.jsonl: "
        "the same command goes on where it was stopped. Writes results.json, results.csv and "
        "report.html."};
    app.add_option("config", args.config, "JSON file: methods, prompts, seeds")->required();
    app.add_option("-o,--out", args.out, "folder of the results [the configuration's name]");
    app.add_option("--threads", args.threads, "threads for the models")->capture_default_str();
    app.add_flag("--check", args.check, "only check the configuration and list its methods");
    app.add_flag("--report", args.report, "decode nothing, report on what the journal has")
        ->excludes("--check");
    app.add_flag("--mix", args.mix,
                 "go on though prompts, models, threads or the program are not what the journal's "
                 "answers "
                 "were made with")
        ->excludes("--report");
    command_line::parse(app, argc, argv);
    return args;
}

/// One line on standard error, if that is a terminal.
class progress_line {
public:
    void operator()(std::size_t done, std::size_t all, const std::string& what) const {
        if (!shown_) return;  // what is written here are commands to a terminal, but for the names
        constexpr std::size_t width = 30;
        const double share = static_cast<double>(done) / static_cast<double>(all);
        const double spent =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
        const auto filled = static_cast<std::size_t>(share * width);
        std::fputs(
            fmt::format("\r\033[K[{}{}] {:3.0f} %  {}, about {:.0f} min left",
                        std::string(filled, '#'), std::string(width - filled, '.'), 100 * share,
                        utf8::shown(what), share > 0 ? spent * (1 - share) / share / 60 : 0.0)
                .c_str(),
            stderr);
    }
    void clear() const {
        if (shown_) std::fputs("\r\033[K", stderr);
    }

private:
    bool shown_ = isatty(STDERR_FILENO) != 0;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Writes a whole file or none: a reader never sees half of it, nor of two programs' together.
void write_file(const std::filesystem::path& file, const std::string& text) {
    const std::filesystem::path part = fmt::format("{}.{}.part", file.string(), ::getpid());
    std::ofstream stream{part, std::ios::binary};
    stream << text;
    if (!stream.flush()) throw tq::backend_error{"cannot write " + part.string()};
    stream.close();
    std::filesystem::rename(part, file);
}

void show(const std::string& text) { fmt::print("{}", utf8::shown(text)); }

/// The journal, in which all answers are that are still to be had.
std::unique_ptr<evaluation::journal> decode(const evaluation::config& config,
                                            const std::vector<evaluation::prompt>& prompts,
                                            const std::filesystem::path& out,
                                            const arguments& args) {
    using use = evaluation::journal_use;
    auto journal = std::make_unique<evaluation::journal>(
        out / "journal.jsonl", config, evaluation::identity_of(config, prompts, args.threads),
        args.report ? use::report
        : args.mix  ? use::mix
                    : use::write);
    if (args.report) return journal;
    const progress_line progress;
    const interrupt::noted_signals noted;  // measuring can be ended anywhere: the journal is whole
    evaluation::decode_missing(config, prompts, *journal, out / "timings.jsonl", args.threads,
                               [&](std::size_t done, std::size_t all, const std::string& what) {
                                   progress(done, all, what);
                                   interrupt::check();
                               });
    progress.clear();
    return journal;
}

void run(const arguments& args, const std::string& command) {
    const evaluation::config config = evaluation::read_config(args.config);
    evaluation::check_files(config);
    const std::vector<evaluation::prompt> prompts = evaluation::read_prompts(config);
    if (args.check) {
        show(fmt::format("{}: {} prompts, {} methods\n", config.name, prompts.size(),
                         config.methods.size()));
        for (const evaluation::method_config& m : config.methods) show("  " + m.name + "\n");
        return;
    }
    const std::filesystem::path out = args.out.empty() ? config.name : args.out;
    if (!args.report) std::filesystem::create_directories(out);
    const auto journal = decode(config, prompts, out, args);
    const auto measured = evaluation::measure(config, prompts, *journal, out, args.threads);
    std::vector<std::string> texts;
    for (const evaluation::prompt& p : prompts) texts.push_back(p.text());
    nlohmann::json results =
        evaluation::results_of(config, texts, *journal, measured,
                               evaluation::read_timings(out / "timings.jsonl"), command);
    results["mixed"] = journal->mixed();
    for (const std::string& what : journal->mixed())
        program::say("note: the answers were not all made with the same " + what);
    write_file(out / "results.json",
               results.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    write_file(out / "results.csv", evaluation::csv_of(results));
    write_file(out / "report.html", evaluation::report_page(results));
    show(fmt::format("{}\n{}\n{}\n", evaluation::table_of(results), results["headline"].dump(1),
                     (out / "report.html").string()));
}

}  // namespace

int main(int argc, char** argv) {
    std::string command = "evaluate";
    for (int i = 1; i < argc; ++i) command += std::string{" "} + argv[i];
    return program::run("evaluate", "; the same command goes on",
                        [&] { run(read_arguments(argc, argv), command); });
}
