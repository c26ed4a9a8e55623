#include "support/catch.hpp"
#include "support/message.hpp"

#include <cmath>

#include <tq/concepts/baseline.hpp>
#include <tq/core/random.hpp>

#include "shared_model.hpp"

using tq::llama_cpp::language_model;
using namespace tq::test;

static_assert(tq::explain_policy<language_model>());
static_assert(tq::explain_baseline<language_model>());

namespace {

std::vector<std::vector<float>> rows_of(language_model& model,
                                        const std::vector<tq::token_list>& sequences) {
    const std::vector<tq::token_view> views{sequences.begin(), sequences.end()};
    std::vector<std::vector<float>> rows;
    for (const tq::logits_view row : model.next_logits(views))
        rows.emplace_back(row.begin(), row.end());
    return rows;
}

tq::token_list prompt() { return shared_model().chat_prompt("Write a line about the sea."); }

/// `size` tokens of words in an order of its own, so that the rows after two of them are far apart.
tq::token_list long_text(std::uint64_t number, std::size_t size) {
    const std::vector<std::string> words{"the", "old",    "sea",   "of", "green", "houses",
                                         "and", "walked", "to",    "my", "with",  "seven",
                                         "red", "birds",  "never", "in", "wrote"};
    std::string text;
    for (std::uint64_t i = 0; i < size; ++i)
        text += " " + words[tq::random_key{number}.bits(i) % words.size()];
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

/// The row that llama.cpp gives by itself.
std::vector<float> bare_row(const tq::token_list& sequence) {
    static bare_model model{shared_model()};
    return model.row(sequence);
}

/// How far rows of one sequence may lie apart: three times what llama.cpp's own rows do when it decodes
/// sequences like the tests' in other batches, beside other sequences.
double noise() {
    static const double measured = [] {
        auto sequences = candidates(3);
        for (std::uint64_t number = 0; number < 3; ++number)
            sequences.push_back(long_text(number, number < 2 ? 120 : 100));
        return bare_model{shared_model()}.noise(sequences, distance);
    }();
    return 3 * measured + 1e-6;
}

}  // namespace

TEST_CASE("noise is below what a wrong row would differ by") {
    auto sequences = candidates(3);
    sequences.push_back(prompt());
    for (std::uint64_t number = 0; number < 5; ++number)
        sequences.push_back(long_text(number, number < 3 ? 120 : 100));
    double nearest = 1;
    for (std::size_t i = 0; i < sequences.size(); ++i)
        for (std::size_t j = 0; j < i; ++j)
            nearest = std::min(nearest, distance(bare_row(sequences[i]), bare_row(sequences[j])));
    INFO("three times the measured noise: " << noise() << ", two rows: " << nearest);
    CHECK(nearest > noise());
}

TEST_CASE("cached rows equal fresh ones, whatever the order and the company") {
    language_model model{shared_model(), small({.context = 2048, .max_sequences = 16})};
    auto sequences = candidates(4);
    sequences.push_back(prompt());
    sequences.push_back(sequences[1]);
    const auto rows = rows_of(model, sequences);
    REQUIRE(rows[1] == rows[5]);
    for (const std::size_t i : {0U, 3U, 4U})
        REQUIRE(distance(rows[i], bare_row(sequences[i])) < noise());
    REQUIRE(distance(rows[0], rows[1]) > noise());

    const auto again = rows_of(model, {sequences[3], sequences[4], sequences[0]});
    REQUIRE(distance(again[0], rows[3]) < noise());
    REQUIRE(distance(again[1], rows[4]) < noise());
    REQUIRE(distance(again[2], rows[0]) < noise());
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
            REQUIRE(distance(again[i], rows[i]) < noise());
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
            REQUIRE(distance(rows[i], bare_row(sequences[i])) < noise());
    }
}

TEST_CASE("more tokens than the context holds at once still work; one long sequence does not") {
    language_model model{shared_model(), small({.context = 256, .max_sequences = 4, .batch = 64})};
    const std::vector<tq::token_list> sequences{long_text(0, 120), long_text(1, 120),
                                                long_text(2, 120)};
    const auto rows = rows_of(model, sequences);
    REQUIRE(distance(rows[0], bare_row(sequences[0])) < noise());
    REQUIRE(distance(rows[2], bare_row(sequences[2])) < noise());

    const tq::token_list too_long(257, 7);
    const std::string message = message_of<tq::invalid_option>([&] {
        rows_of(model, {sequences[0], too_long});
    });
    REQUIRE(contains(message, "sequence 1: size = 257, must be at most the context of 256 tokens"));
    REQUIRE(distance(rows_of(model, {sequences[2]})[0], rows[2]) < noise());
}

TEST_CASE("old prompts make room, and come back when asked for") {
    language_model model{shared_model(), small({.context = 256, .max_sequences = 3, .batch = 128})};
    for (std::uint64_t round = 0; round < 7; ++round) {
        const tq::token_list sequence = long_text(round % 5, 100);
        const auto row = rows_of(model, {sequence})[0];
        if (round == 6) REQUIRE(distance(row, bare_row(sequence)) < noise());
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
    // One batch shape, so no noise: what differs is the adapter's doing.
    const auto row = rows_of(plain, {prompt()})[0];
    const double on = distance(rows_of(aligned, {prompt()})[0], row);
    const double at_zero = distance(rows_of(off, {prompt()})[0], row);
    INFO("adapter on " << on << ", at scale 0 " << at_zero);
    REQUIRE(at_zero < 1e-3);
    REQUIRE(on > 10 * at_zero + 1e-3);
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
    REQUIRE(seen == meant);  // one batch shape: bit by bit
    REQUIRE(rows_of(policy, {prompt() + answer})[0] != seen[0]);

    const auto equal = [&](const tq::token_list& given, const tq::token_list& meant_by_it) {
        baseline.clear_cache();
        policy.clear_cache();
        return rows_of(baseline, {given}) == rows_of(policy, {meant_by_it});
    };
    baseline.add_prompt_override({.replaces = {}, .with = {9}});
    REQUIRE(equal({5, 6}, {9, 5, 6}));
    baseline.clear_prompt_overrides();
    REQUIRE(equal({5, 6}, {5, 6}));
}
