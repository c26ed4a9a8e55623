// What becomes of a decode when the model's file or its context goes wrong.
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "shared_model.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"

using tq::llama_cpp::language_model;
using tq::llama_cpp::model_file;
using tq::test::contains;
using tq::test::message_of;
using tq::test::scratch_file;
using tq::test::shared_model;
using tq::test::small;

namespace {

namespace fs = std::filesystem;

/// Puts a copy of the model's file in the place of a scratch file.
void copy_model(const scratch_file& file) {
    fs::copy_file(shared_model().path(), file.path(), fs::copy_options::overwrite_existing);
}

tq::token_list greedy(language_model& lm, std::size_t tokens) {
    tq::token_list sequence = shared_model().tokenize("The sea is");
    tq::zero_value none;
    tq::decoder decode{lm, none, {.top_k = 1, .select = tq::selection::argmax}};
    auto stream = decode.generate(sequence, tokens);
    for (auto it = stream.begin(); it != stream.end(); ++it) continue;
    return {stream.answer().begin(), stream.answer().end()};
}

double length(tq::token_view, tq::token_view answer) { return static_cast<double>(answer.size()); }

}  // namespace

TEST_CASE("faults: a model file that was cut anywhere is one error that names it") {
    const scratch_file file{"cut"};
    copy_model(file);
    const auto whole = fs::file_size(file.path());
    for (const std::uintmax_t size : {whole - 1, whole / 2, std::uintmax_t{100'000},
                                      std::uintmax_t{100}, std::uintmax_t{10}, std::uintmax_t{0}}) {
        fs::resize_file(file.path(), size);
        for (const bool use_mmap : {true, false})
            CHECK(contains(message_of<tq::invalid_option>([&] {
                               model_file{file.path(), {.use_mmap = use_mmap}};
                           }),
                           file.path()));
    }
}

TEST_CASE("faults: a model file that is replaced while running changes nothing") {
    language_model sound{shared_model(), small()};
    const tq::token_list expected = greedy(sound, 6);
    const scratch_file file{"replaced"}, other{"no model at all"};
    copy_model(file);
    language_model lm{model_file{file.path()}, small()};
    fs::rename(other.path(), file.path());  // the old one lives on until it is unmapped
    CHECK(greedy(lm, 6) == expected);
}

TEST_CASE("faults: read into memory, a model no longer needs its file") {
    language_model sound{shared_model(), small()};
    const tq::token_list expected = greedy(sound, 6);
    const scratch_file file{"emptied"};
    copy_model(file);
    language_model lm{model_file{file.path(), {.use_mmap = false}}, small()};
    fs::resize_file(file.path(), 0);
    CHECK(greedy(lm, 6) == expected);
}

TEST_CASE(
    "faults: rollouts too long for the baseline's context are one error, and no token is lost") {
    language_model policy{shared_model(), small()},
        baseline{shared_model(), small({.context = 256, .max_sequences = 4, .batch = 64})};
    tq::token_list prompt;
    while (prompt.size() < 250)
        for (const tq::token_id token : shared_model().tokenize(" The sea is blue and the sky."))
            prompt.push_back(token);
    prompt.resize(250);
    const auto decode_with = [&](std::size_t horizon, std::size_t limit, tq::token_list& answer) {
        tq::direct_transfer q{baseline, length, {.horizon = horizon}};
        tq::decoder decode{policy, q, {.top_k = 2, .select = tq::selection::argmax}};
        auto stream = decode.generate(prompt, limit);
        const std::string message = message_of<tq::invalid_option>([&] {
            for (const tq::step& step : stream) answer.push_back(step.token);
        });
        CHECK(answer == tq::token_list(stream.answer().begin(), stream.answer().end()));
        return message;
    };
    tq::token_list first, second, whole;
    const std::string message = decode_with(4, 32, first);
    CHECK(contains(message, "must be at most the context of 256 tokens"));
    CHECK(first.size() >= 2);
    for (language_model* model : {&policy, &baseline}) model->clear_cache();  // the same batches
    CHECK(decode_with(4, 32, second) == message);
    CHECK(second == first);
    CHECK(decode_with(2, 3, whole) == "nothing was thrown");  // the baseline goes on with less
    CHECK(whole.size() == 3);
}
