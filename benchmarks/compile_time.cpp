// What including tq costs a translation unit, next to including what it is built on.
//
// Compiles files that consist of one include, again and again in turn, and compares the medians of the
// processor time that the compiler took. A file that does not compile ends the benchmark.

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

/// Processor seconds of all commands so far.
double children_seconds() {
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    const auto seconds = [](const timeval& t) {
        return double(t.tv_sec) + 1e-6 * double(t.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double seconds_of(const std::string& command) {
    const double before = children_seconds();
    if (std::system(command.c_str()) != 0) throw std::runtime_error{"failed: " + command};
    return children_seconds() - before;
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) try {
    std::size_t repetitions = 9;
    bool quick = false;
    std::string compiler = "g++";
    CLI::App app{"What including tq costs a translation unit"};
    app.add_option("--repetitions", repetitions, "Compilations of each file; the median counts")
        ->check(CLI::Range(1, 1000));
    app.add_option("--compiler", compiler, "The compiler");
    app.add_flag("--quick", quick, "Three repetitions");
    CLI11_PARSE(app, argc, argv);
    if (quick) repetitions = 3;

    const std::vector<std::string> headers{"Eigen/Core",          "tq/tq.hpp",
                                           "nlohmann/json.hpp",   "tq/concepts/policy.hpp",
                                           "tq/kernels/tilt.hpp", "tq/decode/decoder.hpp"};
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("tq_compile_time_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    std::vector<std::vector<double>> times(headers.size());
    for (std::size_t repetition = 0; repetition <= repetitions; ++repetition) {
        for (std::size_t i = 0; i < headers.size(); ++i) {
            const std::filesystem::path source = folder / (std::to_string(i) + ".cpp");
            std::ofstream{source} << "#include <" << headers[i] << ">\n";
            const double seconds = seconds_of(fmt::format(
                "{} -std=c++20 -O2 -I{} -isystem {} -c {} -o {}", compiler, TQSTAR_INCLUDE,
                TQSTAR_EIGEN_INCLUDE, source.string(), (folder / "out.o").string()));
            if (repetition > 0) times[i].push_back(seconds);  // the first fills the file cache
        }
    }
    std::filesystem::remove_all(folder);

    fmt::print("{} -O2, processor seconds, median of {}\n\n{:<26} {:>8} {:>14}\n", compiler,
               repetitions, "a file that includes", "seconds", "over the first");
    const double eigen = median(times[0]);
    for (std::size_t i = 0; i < headers.size(); ++i)
        fmt::print("{:<26} {:>8.2f} {:>14.2f}\n", headers[i], median(times[i]),
                   median(times[i]) / eigen);
    const nlohmann::json figures{{"tq_over_eigen_core", median(times[1]) / eigen},
                                 {"seconds_tq", median(times[1])},
                                 {"seconds_eigen_core", eigen}};
    fmt::print("\n{}\n", figures.dump());
} catch (const std::exception& error) {
    fmt::print(stderr, "compile_time: {}\n", error.what());
    return 1;
}
