#include "support/catch.hpp"
#include "support/message.hpp"

#include <cmath>

#include <tq/concepts/baseline.hpp>

#include "shared_model.hpp"

using tq::llama_cpp::language_model;
using namespace tq::test;

static_assert(tq::explain_policy<language_model>());
static_assert(tq::explain_baseline<language_model>());

namespace {

// Rows of one sequence from batches of other shapes differ by float noise: measured up to 0.05 in
// total variation. Rows of other sequences differ by far more.
constexpr double noise = 0.1;

std::vector<std::vector<float>> rows_of(language_model& model,
                                        const std::vector<tq::token_list>& sequences) {
    const std::vector<tq::token_view> views{sequences.begin(), sequences.end()};
    std::vector<std::vector<float>> rows;
    for (const tq::logits_view row : model.next_logits(views))
        rows.emplace_back(row.begin(), row.end());
    return rows;
}

std::vector<float> fresh_row(const tq::token_list& sequence) {
    language_model model{shared_model(), small({.context = 1024, .max_sequences = 2})};
    return rows_of(model, {sequence})[0];
}

tq::token_list prompt() { return shared_model().chat_prompt("Write a line about the sea."); }

/// `size` tokens of text that begins with a word of its own
tq::token_list long_text(int number, std::size_t size) {
    std::string text = "Number " + std::to_string(number) + ". ";
    while (text.size() < 8 * size)
        text += "We walked along the shore until the sun went down behind the old lighthouse. ";
    tq::token_list tokens = shared_model().tokenize(text);
    tokens.resize(size);
    return tokens;
}

/// prompt and one more token each
std::vector<tq::token_list> candidates(std::size_t count) {
    std::vector<tq::token_list> sequences;
    for (std::size_t i = 0; i < count; ++i)
        sequences.push_back(prompt() + tq::token_list{static_cast<tq::token_id>(1000 + 37 * i)});
    return sequences;
}

}  // namespace

TEST_CASE("cached rows equal fresh ones, whatever the order and the company") {
    language_model model{shared_model(), small({.context = 2048, .max_sequences = 16})};
    auto sequences = candidates(4);
    sequences.push_back(prompt());
    sequences.push_back(sequences[1]);
    const auto rows = rows_of(model, sequences);
    REQUIRE(rows[1] == rows[5]);
    for (const std::size_t i : {0U, 3U, 4U})
        REQUIRE(distance(rows[i], fresh_row(sequences[i])) < noise);
    REQUIRE(distance(rows[0], rows[1]) > 2 * noise);

    const auto again = rows_of(model, {sequences[3], sequences[4], sequences[0]});
    REQUIRE(distance(again[0], rows[3]) < noise);
    REQUIRE(distance(again[1], rows[4]) < noise);
    REQUIRE(distance(again[2], rows[0]) < noise);
}

TEST_CASE("only new tokens are decoded, each once, in one decode") {
    language_model model{shared_model(), small({.context = 2048, .max_sequences = 16})};
    const auto cost = [&](const std::vector<tq::token_list>& sequences) {
        model.reset_counters();
        rows_of(model, sequences);
        REQUIRE(model.decodes() == (model.tokens_decoded() > 0 ? 1 : 0));
        REQUIRE(model.calls() == 1);
        return model.tokens_decoded();
    };
    const std::size_t size = prompt().size();
    auto sequences = candidates(8);
    REQUIRE(cost(sequences) == size + 8);  // a fresh prompt is shared within the call
    REQUIRE(cost({prompt()}) == 1);        // its cells are there, its row was never asked for
    REQUIRE(cost({prompt()}) == 0);
    for (auto& sequence : sequences) sequence.push_back(42);
    REQUIRE(cost(sequences) == 8);
    REQUIRE(cost({sequences[2], sequences[2], sequences[2]}) == 0);
    REQUIRE(cost({sequences[3] + tq::token_list{5, 6}, sequences[3] + tq::token_list{5, 7}}) == 3);
    model.clear_cache();
    REQUIRE(cost({prompt(), candidates(1)[0]}) == size + 1);
}

TEST_CASE("rows that are kept are the same rows; without room for any, they are decoded again") {
    const auto sequences = candidates(3);
    for (const std::size_t kept : {0U, 2U, 256U}) {
        language_model model{shared_model(),
                             small({.context = 1024, .max_sequences = 4, .kept_rows = kept})};
        const auto rows = rows_of(model, sequences);
        model.reset_counters();
        const auto again = rows_of(model, sequences);
        REQUIRE(model.tokens_decoded() == sequences.size() - std::min(kept, sequences.size()));
        for (std::size_t i = 0; i < sequences.size(); ++i) {
            if (kept > 2) REQUIRE(again[i] == rows[i]);
            REQUIRE(distance(again[i], rows[i]) < noise);
        }
        model.clear_cache();
        model.reset_counters();
        rows_of(model, {sequences[0]});
        REQUIRE(model.tokens_decoded() == sequences[0].size());
    }
}

TEST_CASE("more sequences than slots are worked off in groups") {
    language_model model{shared_model(), small({.context = 1024, .max_sequences = 4, .batch = 16})};
    REQUIRE(model.max_batch() == 4);
    const auto sequences = candidates(11);
    for (int round = 0; round < 2; ++round) {
        const auto rows = rows_of(model, sequences);
        for (const std::size_t i : {0U, 5U, 10U})
            REQUIRE(distance(rows[i], fresh_row(sequences[i])) < noise);
    }
}

TEST_CASE("more tokens than the context holds at once still work; one long sequence does not") {
    language_model model{shared_model(), small({.context = 256, .max_sequences = 4, .batch = 64})};
    const std::vector<tq::token_list> sequences{long_text(0, 120), long_text(1, 120),
                                                long_text(2, 120)};
    const auto rows = rows_of(model, sequences);
    REQUIRE(distance(rows[0], fresh_row(sequences[0])) < noise);
    REQUIRE(distance(rows[2], fresh_row(sequences[2])) < noise);

    const tq::token_list too_long(257, 7);
    const std::string message = message_of<tq::invalid_option>([&] {
        rows_of(model, {sequences[0], too_long});
    });
    REQUIRE(contains(message, "sequence 1: size = 257, must be at most the context of 256 tokens"));
    REQUIRE(distance(rows_of(model, {sequences[2]})[0], rows[2]) < noise);
}

TEST_CASE("old prompts make room, and come back when asked for") {
    language_model model{shared_model(), small({.context = 256, .max_sequences = 3, .batch = 128})};
    for (int round = 0; round < 7; ++round) {
        const tq::token_list sequence = long_text(round % 5, 100);
        const auto row = rows_of(model, {sequence})[0];
        if (round == 6) REQUIRE(distance(row, fresh_row(sequence)) < noise);
    }
}

TEST_CASE("tokens and options outside their range are named") {
    language_model model{shared_model(), small({.context = 256, .max_sequences = 2})};
    REQUIRE(message_of<tq::invalid_option>([&] {
                rows_of(model, {{1, 2}, {3, 49152}});
            }) == "next_logits: sequence 1: token 1 = 49152, must be in [0, 49152)");
    REQUIRE_THROWS_AS(rows_of(model, {{-1}}), tq::invalid_option);
    REQUIRE_THROWS_AS(rows_of(model, {{}}), tq::invalid_option);
    REQUIRE(rows_of(model, {{1, 2}})[0].size() == 49152);
    const auto refused = [](const tq::llama_cpp::language_model_options& options) {
        return message_of<tq::invalid_option>([&] { language_model{shared_model(), options}; });
    };
    REQUIRE(contains(refused({.max_sequences = 257}), "max_sequences = 257, must be in [1, 256]"));
    REQUIRE(contains(refused({.max_sequences = 8, .batch = 4}), "batch = 4"));
    REQUIRE(contains(refused({.context = 0}), "context = 0"));
    REQUIRE(contains(refused({.kept_rows = 1U << 21U}), "kept_rows = 2097152"));
    REQUIRE(contains(refused({.lora_scale = NAN}), "lora_scale = nan"));
}

TEST_CASE("a LoRA adapter changes the model, by its scale") {
    const std::string lora = asset("baseline_valence_dpo.gguf");
    language_model plain{shared_model(), small()}, aligned{shared_model(), small({.lora = lora})},
        off{shared_model(), small({.lora = lora, .lora_scale = 0})};
    const auto row = rows_of(plain, {prompt()})[0];
    REQUIRE(distance(rows_of(aligned, {prompt()})[0], row) > noise);
    REQUIRE(distance(rows_of(off, {prompt()})[0], row) < 1e-3);
    const auto refused = [](const std::string& path) {
        return message_of<tq::invalid_option>([&] {
            language_model{shared_model(), {.lora = path}};
        });
    };
    REQUIRE(contains(refused("/nowhere/lora.gguf"), "lora = /nowhere/lora.gguf, must be a file"));
    REQUIRE(contains(refused(shared_model().path()), "must be a LoRA adapter for"));
    const scratch_file no_gguf{"no adapter"};
    REQUIRE(contains(refused(no_gguf.path()), "must be a LoRA adapter for"));
}

TEST_CASE("a baseline can see another prompt than the policy") {
    const auto& file = shared_model();
    const tq::token_list own =
        file.chat_prompt("Write a line about the sea.", "Answer in capitals.");
    language_model policy{file, small()}, baseline{file, small()};
    baseline.set_prompt_override({.replaces = prompt(), .with = own});
    const tq::token_list answer = file.tokenize("The waves");
    const auto seen = rows_of(baseline, {prompt() + answer, {5, 6}});
    const auto meant = rows_of(policy, {own + answer, {5, 6}});
    REQUIRE(distance(seen[0], meant[0]) < noise);
    REQUIRE(distance(seen[1], meant[1]) < noise);
    REQUIRE(distance(rows_of(policy, {prompt() + answer})[0], seen[0]) > noise);

    baseline.add_prompt_override({.replaces = {}, .with = {9}});
    REQUIRE(distance(rows_of(baseline, {{5, 6}})[0], rows_of(policy, {{9, 5, 6}})[0]) < noise);
    baseline.clear_prompt_overrides();
    REQUIRE(distance(rows_of(baseline, {{5, 6}})[0], meant[1]) < noise);
}
