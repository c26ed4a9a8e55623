// Small random models of many architectures. benchmarks/models.cpp checks more rows of the same.
#include "support/catch.hpp"
#include "support/message.hpp"

#include <numeric>

#include "row_check.hpp"
#include "tiny_models.hpp"

using namespace tq::test;
using tq::llama_cpp::detail::row_kind;
using tq::llama_cpp::detail::sequence_engine;

namespace {

tq::token_list numbers(std::size_t size, std::size_t step) {
    tq::token_list tokens(size);
    for (std::size_t i = 0; i < size; ++i)
        tokens[i] = static_cast<tq::token_id>(i * step % tiny_vocabulary);
    return tokens;
}

const tiny_architecture& first_of(memory_kind memory) {
    return *std::ranges::find(tiny_architectures(), memory, &tiny_architecture::memory);
}

}  // namespace

TEST_CASE("architectures: rows under branching, cutting and full caches are a fresh context's") {
    for (const tiny_architecture& kind : tiny_architectures())
        for (const row_kind rows : {row_kind::logits, row_kind::states}) {
            const row_check result = check_rows(tiny_model(kind), rows, 40, 1);
            INFO(kind.label() << (rows == row_kind::states ? ", states" : ", logits") << ": worst "
                              << result.worst << ", allowed " << result.allowed << ", rows of "
                              << "different sequences " << result.neighbours);
            CHECK(result.rows == 80);
            CHECK(result.off == 0);
            CHECK(result.allowed < result.neighbours / 10);  // a wrong row would be seen
        }
}

TEST_CASE("architectures: a window costs no token more than attention to everything") {
    const auto decoded = [](memory_kind memory) {
        return check_rows(tiny_model(first_of(memory)), row_kind::logits, 40, 1).decoded;
    };
    CHECK(decoded(memory_kind::window) == decoded(memory_kind::attention));
}

TEST_CASE("architectures: cells that llama.cpp took back are decoded again, not believed in") {
    for (const memory_kind memory : {memory_kind::attention, memory_kind::window,
                                     memory_kind::recurrent, memory_kind::hybrid}) {
        const auto model = tiny_model(first_of(memory));
        sequence_engine engine{
            model, {.context = 512, .max_sequences = 4, .threads = 1}, row_kind::logits};
        bare_model bare{model};
        const double allowed = 5 * bare.noise({numbers(100, 7)}, apart) + 1e-5;
        const auto distance_at = [&](const tq::token_list& sequence) {
            const tq::token_view view{sequence};
            return apart(engine.rows({&view, 1})[0], bare.row(sequence));
        };
        REQUIRE(distance_at(numbers(100, 7)) <= allowed);
        const bool cuts = memory == memory_kind::attention || memory == memory_kind::window;
        for (const auto& [from, to] : {std::pair{0, 80}, {95, -1}, {0, -1}}) {
            if (!cuts && from + to != -1) continue;
            const int ids = memory == memory_kind::window ? 8 : 4;
            for (int id = 0; id < ids; ++id)
                REQUIRE(llama_memory_seq_rm(llama_get_memory(engine.handle()), id, from, to));
            CHECK(distance_at(numbers(100, 7) + tq::token_list{from + 5}) <= allowed);
        }
    }
}

TEST_CASE("architectures: branches of whole states are copies, whatever a state is made of") {
    for (const memory_kind memory : {memory_kind::recurrent, memory_kind::hybrid}) {
        sequence_engine engine{tiny_model(first_of(memory)),
                               {.context = 512, .max_sequences = 9, .threads = 1},
                               row_kind::logits};
        REQUIRE(engine.in_flight() == 5);
        const auto cost = [&](const tq::token_list& state, const tq::token_list& tail) {
            std::vector<tq::token_list> sequences;
            for (tq::token_id c = 50; c < 54; ++c)
                sequences.push_back(state + tq::token_list{c} + tail);
            const std::vector<tq::token_view> views{sequences.begin(), sequences.end()};
            engine.reset_counters();
            (void)engine.rows(views);
            return engine.tokens_decoded();
        };
        const tq::token_list prompt = numbers(100, 7);
        CHECK(cost(prompt, {}) == 104);
        CHECK(cost(prompt, {7}) == 4);
        CHECK(cost(prompt, {7, 8}) == 4);
        CHECK(cost(prompt + tq::token_list{52}, {}) == 5);  // the chosen token once more
        CHECK(cost(prompt + tq::token_list{52}, {7}) == 4);
    }
}

TEST_CASE("architectures: models that read a text as a whole are no language models, nor trunks") {
    for (const tiny_architecture& kind : tiny_encoders())
        for (const row_kind rows : {row_kind::logits, row_kind::states})
            CHECK(contains(message_of<tq::invalid_option>([&] {
                               sequence_engine{tiny_model(kind), {.context = 256}, rows};
                           }),
                           "must be a causal language model: \"" + kind.name + "\" reads a text"));
}

TEST_CASE("architectures: with a window at most half as many sequences") {
    const auto message = [](memory_kind memory) {
        return message_of<tq::invalid_option>([&] {
            sequence_engine{tiny_model(first_of(memory)), {.max_sequences = 129}, row_kind::logits};
        });
    };
    CHECK(contains(message(memory_kind::window), "max_sequences = 129, must be in [1, 128] for"));
    CHECK(message(memory_kind::attention) == "nothing was thrown");
}
