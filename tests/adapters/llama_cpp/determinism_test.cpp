// On one machine with one build, equal calls are equal bit by bit.
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include <vector>

#include "shared_model.hpp"
#include "support/catch.hpp"

using tq::llama_cpp::language_model;
using tq::llama_cpp::language_model_options;
using namespace tq::test;

namespace {

/// Everything a decode of two prompts says, with sampled rollouts, from new objects.
std::vector<double> record(unsigned threads) {
    const auto& file = shared_model();
    const auto with_threads = [&](language_model_options options) {
        options.threads = threads;
        return options;
    };
    language_model policy{file, with_threads({})},
        baseline{file, with_threads({.lora = asset("baseline_valence_dpo.gguf")})};
    tq::llama_cpp::reward_head reward{file, asset("valence_head.safetensors"), with_threads({})};
    tq::direct_transfer q{
        baseline, reward, {.horizon = 3, .rollouts = 2, .sampling = {.temperature = 1}}};
    tq::decoder decode{
        policy, q, {.alpha = 0.1, .top_k = 4, .race = tq::race_mode::exhaustive, .seed = 5}};
    const std::vector<tq::token_list> prompts{file.chat_prompt("Write a line about the sea."),
                                              file.chat_prompt("How was the film?")};
    auto answers = decode.generate_all(prompts, 3);
    std::vector<double> said;
    for (auto steps = answers.advance(); !steps.empty(); steps = answers.advance())
        for (const tq::step& step : steps) {
            said.push_back(step.token);
            for (const auto& values : {step.distribution.log_p, step.distribution.q})
                said.insert(said.end(), values.begin(), values.end());
        }
    return said;
}

}  // namespace

TEST_CASE("determinism: the same decode from new objects is the same bit by bit") {
    for (const unsigned threads : {1U, 2U}) {
        const std::vector<double> said = record(threads);
        CHECK(said.size() > 40);
        CHECK(record(threads) == said);
    }
}
