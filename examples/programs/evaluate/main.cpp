// evaluate: methods of decoding, compared on the same prompts.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../support/defaults.hpp"
#include "../support/interrupt.hpp"
#include "config.hpp"
#include "decode.hpp"
#include "journal.hpp"
#include "measure.hpp"
#include "report_page.hpp"
#include "results.hpp"

namespace {

struct arguments {
    std::string config, out;
    std::size_t threads = demo_defaults::threads();
    bool check = false, report = false;
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
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    return args;
}

/// One line on standard error, if that is a terminal.
class progress_line {
public:
    void operator()(std::size_t done, std::size_t all, const std::string& what) const {
        if (!shown_) return;
        constexpr std::size_t width = 30;
        const double share = static_cast<double>(done) / static_cast<double>(all);
        const double spent =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
        const auto filled = static_cast<std::size_t>(share * width);
        fmt::print(stderr, "\r\033[K[{}{}] {:3.0f} %  {}, about {:.0f} min left",
                   std::string(filled, '#'), std::string(width - filled, '.'), 100 * share, what,
                   share > 0 ? spent * (1 - share) / share / 60 : 0.0);
    }
    void clear() const {
        if (shown_) fmt::print(stderr, "\r\033[K");
    }

private:
    bool shown_ = isatty(STDERR_FILENO) != 0;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Writes a whole file or none: a reader never sees half of it.
void write_file(const std::filesystem::path& file, const std::string& text) {
    const std::filesystem::path part = file.string() + ".part";
    std::ofstream stream{part, std::ios::binary};
    stream << text;
    if (!stream.flush()) throw tq::backend_error{"cannot write " + part.string()};
    stream.close();
    std::filesystem::rename(part, file);
}

void run(const arguments& args, const std::string& command) {
    const evaluation::config config = evaluation::read_config(args.config);
    if (args.check) {
        fmt::print("{}: {} methods\n", config.name, config.methods.size());
        for (const evaluation::method_config& m : config.methods) fmt::print("  {}\n", m.name);
        return;
    }
    const std::vector<std::string> prompts = evaluation::read_prompts(config);
    const std::filesystem::path out = args.out.empty() ? config.name : args.out;
    std::filesystem::create_directories(out);
    evaluation::journal journal{out / "journal.jsonl", config};
    const std::filesystem::path timings = out / "timings.jsonl";
    const progress_line progress;
    if (!args.report) {
        const interrupt::noted_signals
            noted;  // measuring can be ended anywhere: the journal is whole
        evaluation::decode_missing(config, prompts, journal, timings, args.threads,
                                   [&](std::size_t done, std::size_t all, const std::string& what) {
                                       progress(done, all, what);
                                       interrupt::check();
                                   });
    }
    progress.clear();
    const auto measured = evaluation::measure(config, prompts, journal, out, args.threads);
    const nlohmann::json results = evaluation::results_of(
        config, prompts, journal, measured, evaluation::read_timings(timings), command);
    write_file(out / "results.json",
               results.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    write_file(out / "results.csv", evaluation::csv_of(results));
    write_file(out / "report.html", evaluation::report_page(results));
    fmt::print("{}\n{}\n{}\n", evaluation::table_of(results), results["headline"].dump(1),
               (out / "report.html").string());
}

}  // namespace

int main(int argc, char** argv) {
    std::string command = "evaluate";
    for (int i = 1; i < argc; ++i) command += std::string{" "} + argv[i];
    try {
        run(read_arguments(argc, argv), command);
    } catch (const interrupt::stopped& stopped) {
        fmt::print(stderr, "\nevaluate: {}; the same command goes on\n", stopped.what());
        return stopped.exit_code();
    } catch (const tq::invalid_option& error) {
        fmt::print(stderr, "\nevaluate: {}\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "\nevaluate: {}\n", error.what());
        return 1;
    }
}
