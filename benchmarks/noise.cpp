// noise: what do few rollouts cost, and what are corrections worth?
//
// Part A, --decisions: in some states of real answers the candidates' true Q is measured with many
// independent rollouts. Ways to estimate Q from few other rollouts are then judged by the true Q that
// their decisions give away. --record FILE saves the measured rewards, --recorded FILE analyses saved
// ones without a model.
//
// Part B, otherwise: whole answers by variants of the decoder, their reward and their cost.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <tq/adapters/llama_cpp/llama_cpp.hpp>
#include <tq/tq.hpp>
#include <vector>

#include "noise/end_to_end.hpp"
#include "noise/measure.hpp"
#include "noise/models.hpp"
#include "noise/report.hpp"
#include "noise/table.hpp"

namespace {

struct settings {
    std::size_t states = 24, first = 0, threads = demo_defaults::threads();
    noise::measure_settings measure = {};
    std::string record, recorded;
    noise::decode_settings decode = {};
};

void study_decisions(const settings& options) {
    std::vector<noise::measured_state> states;
    if (options.recorded.empty()) {
        noise::models models{options.threads};
        const auto prompts =
            models.prompts(demo_defaults::asset("prompts.train.jsonl"), options.states);
        states =
            noise::record_states(models, prompts, options.measure, options.first, options.record);
    } else {
        states = noise::read_states(options.recorded);
    }
    const nlohmann::json json = noise::decision_report{states}.print();
    fmt::print("\n{}\n", json.dump());
}

}  // namespace

int main(int argc, char** argv) {
    settings options;
    bool decisions = false, train = false, quick = false;
    CLI::App app{"What few rollouts cost, and what corrections are worth"};
    app.add_flag("--decisions", decisions, "part A: single decisions, on train prompts");
    app.add_flag("--quick", quick, "2 states; 2 prompts, 8 tokens, 1 seed");
    app.add_option("--threads", options.threads)->capture_default_str();
    app.add_option("--states", options.states, "A: one for each prompt")->capture_default_str();
    app.add_option("--first", options.first, "A: number of the first state")->capture_default_str();
    app.add_option("--rollouts", options.measure.rollouts,
                   "A: of each candidate, sampled; a multiple of 16")
        ->capture_default_str();
    app.add_option("--record", options.record, "A: append the measured rewards to this file");
    app.add_option("--recorded", options.recorded, "A: analyse this file, without a model");
    app.add_flag("--train", train, "B: train prompts, not test prompts");
    app.add_option("--limit", options.decode.prompts, "B: prompts")->capture_default_str();
    app.add_option("--tokens", options.decode.tokens, "B: answer length")->capture_default_str();
    app.add_option("--seeds", options.decode.seeds, "B: samples per prompt")->capture_default_str();
    app.add_option("--together", options.decode.together, "B: prompts decoded together")
        ->capture_default_str();
    app.add_option("--variants", options.decode.variants, "B: which, a,b,c")->delimiter(',');
    app.add_option("--journal", options.decode.journal,
                   "B: file of what is done; it is not done again");
    app.add_option("--minutes", options.decode.minutes, "B: begin nothing after so many");
    CLI11_PARSE(app, argc, argv);
    if (quick) {
        options.states = 2;
        options.measure.rollouts = 32;
        options.decode.prompts = options.decode.together = 2;
        options.decode.tokens = 8;
        options.decode.seeds = 1;
    }
    options.decode.file =
        train ? demo_defaults::asset("prompts.train.jsonl") : demo_defaults::prompts();
    try {
        if (decisions || !options.record.empty() || !options.recorded.empty())
            study_decisions(options);
        else
            noise::compare_variants(options.decode, options.threads);
    } catch (const std::exception& error) {
        fmt::print(stderr, "noise: {}\n", error.what());
        return 1;
    }
}
