// noise: what do few rollouts cost, and what are corrections worth?
//
// In some states of real answers the candidates' true Q is measured with many independent rollouts.
// Ways to estimate Q from few other rollouts are then judged by the true Q that their decisions give
// away. --record FILE saves the measured rewards, --recorded FILE analyses saved ones.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "noise/measure.hpp"
#include "noise/models.hpp"
#include "noise/report.hpp"
#include "noise/table.hpp"

namespace {

struct settings {
    std::size_t states = 24, first = 0, threads = demo_defaults::threads();
    noise::measure_settings measure = {};
    std::string record, recorded;
};

void study_decisions(const settings& options) {
    std::string path = options.recorded;
    if (path.empty()) {
        path = options.record;
        noise::models models{options.threads};
        const auto prompts =
            models.prompts(demo_defaults::asset("prompts.train.jsonl"), options.states);
        noise::record_states(models, prompts, options.measure, options.first, path);
    }
    const std::vector<noise::measured_state> states = noise::read_states(path);
    const nlohmann::json json = noise::decision_report{states}.print();
    fmt::print("\n{}\n", json.dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    CLI::App app{"What few rollouts cost, and what corrections are worth"};
    app.add_option("--states", options.states, "one for each prompt")->capture_default_str();
    app.add_option("--first", options.first, "number of the first state")->capture_default_str();
    app.add_option("--rollouts", options.measure.rollouts, "of each candidate, sampled")
        ->capture_default_str();
    app.add_option("--record", options.record, "append the measured rewards to this file");
    app.add_option("--recorded", options.recorded, "analyse this file, without a model");
    app.add_option("--threads", options.threads)->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        study_decisions(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "noise: {}\n", error.what());
        return 1;
    }
}
