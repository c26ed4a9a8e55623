// Log-probabilities of real rollouts, as importance weights need them.

#include <tq/rollout/log_probability.hpp>

#include <cmath>
#include <tq/tq.hpp>

#include "shared_model.hpp"
#include "support/catch.hpp"

using tq::llama_cpp::language_model;
using namespace tq::test;

TEST_CASE("log-probabilities of rollouts: those told and those read agree, and cost one reading") {
    language_model baseline{
        shared_model(),
        small({.lora = asset("baseline_brevity_dpo.gguf"), .context = 2048, .max_sequences = 16})};
    language_model reader{
        shared_model(),
        small({.lora = asset("baseline_brevity_dpo.gguf"), .context = 2048, .max_sequences = 16})};
    language_model policy{shared_model(), small({.context = 2048, .max_sequences = 16})};
    const tq::token_list prompt = shared_model().chat_prompt("Write a line about the sea.");
    std::vector<tq::rollout_request> requests;
    for (std::uint64_t i = 0; i < 8; ++i)
        requests.push_back({.sequence = prompt,
                            .max_tokens = 8,
                            .end_tokens = shared_model().end_tokens(),
                            .key = tq::random_key{i},
                            .log_probability = true});
    const auto rollouts = tq::run_rollouts(baseline, requests, {.temperature = 1});
    std::vector<tq::continuation_view> views;
    std::size_t rows = 0;
    for (const tq::trajectory& rollout : rollouts) {
        views.push_back(
            {rollout.sequence, rollout.start, rollout.finished, shared_model().end_tokens()});
        rows += views.back().rows();
    }
    const std::vector<double> read = tq::log_probabilities(reader, views);
    const std::size_t cost = reader.tokens_decoded();
    const std::vector<double> others = tq::log_probabilities(policy, views);
    // Float noise, measured: the same model reads each text a few tokens at a time, and after others.
    language_model slow{
        shared_model(),
        small({.lora = asset("baseline_brevity_dpo.gguf"), .max_sequences = 3, .batch = 3})};
    language_model late{
        shared_model(),
        small({.lora = asset("baseline_brevity_dpo.gguf"), .max_sequences = 8, .batch = 16})};
    double noise = 0, ratio = 0;
    for (std::size_t i = 0; i < rollouts.size(); ++i) {
        slow.clear_cache();
        for (language_model* model : {&slow, &late})
            noise = std::max(noise,
                             std::abs(tq::log_probabilities(*model, {&views[i], 1})[0] - read[i]));
        ratio += (rollouts[i].log_probability - others[i]) / static_cast<double>(rollouts.size());
    }
    INFO("noise " << noise << ", mean log-ratio " << ratio);
    for (std::size_t i = 0; i < rollouts.size(); ++i) {
        CHECK(std::abs(read[i] - rollouts[i].log_probability) < 3 * noise + 1e-4);
        CHECK(rollouts[i].log_probability < 0);
    }
    // It estimates KL(rho_BL || rho_pi) over 8 tokens, about 5 for this adapter. Told by or read with the
    // wrong model it would be 0 but for noise.
    CHECK(ratio > noise);
    // The prompt and each rollout are read once, though every prefix is asked for.
    CHECK(cost <= prompt.size() + rows);
}

TEST_CASE("indirect transfer from a real baseline of another reward: weights, errors, no NaN") {
    language_model baseline{
        shared_model(),
        small({.lora = asset("baseline_brevity_dpo.gguf"), .context = 2048, .max_sequences = 16})};
    language_model policy{shared_model(), small({.context = 2048, .max_sequences = 16})};
    tq::llama_cpp::reward_head reward{shared_model(), asset("valence_head.safetensors"),
                                      small({.context = 2048, .max_sequences = 16})};
    tq::indirect_transfer q{baseline,
                            reward,
                            tq::implicit_weights{policy, {.beta = 0.2}},
                            {.horizon = 4, .rollouts = 8, .sampling = {.temperature = 1}}};
    tq::decoder decode{policy, q, {.alpha = 0.2, .top_k = 3, .race = tq::race_mode::exhaustive}};
    const tq::token_list prompt = shared_model().chat_prompt("Write a line about the sea.");
    for (const tq::step& step : decode.generate(prompt, 2)) {
        for (std::size_t i = 0; i < step.distribution.size(); ++i) {
            CHECK(step.distribution.q[i] >= 0);
            CHECK(step.distribution.q[i] <= 1);
            CHECK_FALSE(std::isnan(step.distribution.q_error[i]));
        }
        // The last token needs no rollout, and so no weights.
        CHECK((step.spent.policy > 1) == (step.position == 0));
        CHECK(step.weights.estimates == (step.position == 0 ? 3 : 0));
    }
}
