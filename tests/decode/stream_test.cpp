#include <tq/decode/decoder.hpp>

#include <algorithm>
#include <ranges>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"

using tq::token_list;

namespace {

const token_list prompt{0, 1};

using plain_decoder = tq::decoder<tq::tabular::bigram_model, tq::zero_value>;

plain_decoder make_decoder(std::uint64_t seed, token_list end_tokens = {}) {
    return {tq::test::random_bigram(6, 1, std::move(end_tokens)), tq::zero_value{}, {.seed = seed}};
}

template <class Decoder>
token_list tokens_of(Decoder& decode, std::size_t max_tokens) {
    token_list tokens;
    for (const tq::step& step : decode.generate(prompt, max_tokens)) tokens.push_back(step.token);
    return tokens;
}

}  // namespace

TEST_CASE("token_stream is an input range, and no more") {
    using stream = tq::token_stream<tq::generation<plain_decoder>>;
    STATIC_REQUIRE(std::ranges::input_range<stream>);
    STATIC_REQUIRE_FALSE(std::ranges::forward_range<stream>);
    STATIC_REQUIRE(std::same_as<std::ranges::range_reference_t<stream>, const tq::step&>);
}

TEST_CASE("token_stream: steps carry their tokens, positions and distributions") {
    auto decode = make_decoder(1);
    auto stream = decode.generate(prompt, 8);
    token_list tokens;
    double kl = 0;
    for (const tq::step& step : stream) {
        CHECK(step.position == tokens.size());
        CHECK(step.prompt == 0);
        CHECK(step.token == step.distribution.tokens[step.choice]);
        CHECK_FALSE(step.ends);
        tokens.push_back(step.token);
        kl += step.kl;
        CHECK(std::ranges::equal(stream.answer(), tokens));
        CHECK(stream.kl() == kl);
    }
    CHECK(tokens.size() == 8);
    CHECK_FALSE(stream.finished());
}

TEST_CASE("token_stream: max_tokens is kept to, 0 included") {
    auto decode = make_decoder(2);
    for (const std::size_t limit : {0U, 1U, 5U}) CHECK(tokens_of(decode, limit).size() == limit);
}

TEST_CASE("token_stream: an end token is the last step, and not part of the answer") {
    std::size_t ended = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        auto decode = make_decoder(seed, {3, 5});
        auto stream = decode.generate(prompt, 6);
        token_list tokens;
        bool ends = false;
        for (const tq::step& step : stream) {
            CHECK_FALSE(ends);
            ends = step.ends;
            CHECK(ends == (step.token == 3 || step.token == 5));
            if (!ends) tokens.push_back(step.token);
        }
        CHECK(std::ranges::equal(stream.answer(), tokens));
        CHECK(stream.finished() == ends);
        CHECK((ends || tokens.size() == 6));
        ended += ends;
    }
    CHECK(ended > 20);
    CHECK(ended < 60);
}

TEST_CASE("token_stream: it is lazy, and leaving the loop cancels the rest") {
    tq::test::counting_policy policy{tq::test::random_bigram(6, 1)};
    tq::decoder decode{policy, tq::zero_value{}};
    auto stream = decode.generate(prompt, 20);
    CHECK(policy.batches.empty());
    for (const tq::step& step : stream)
        if (step.position == 2) break;
    CHECK(policy.batches.size() == 3);
    CHECK(stream.answer().size() == 3);
    token_list rest;  // begin() goes on from the current step
    for (const tq::step& step : stream) rest.push_back(step.token);
    CHECK(rest.size() == 18);
    CHECK(policy.batches.size() == 20);
}

TEST_CASE("token_stream: after an error tokens are kept, and begin() retries the same decision") {
    tq::decoder sound{tq::test::random_bigram(6, 1), tq::zero_value{}, {.seed = 9}};
    const token_list expected = tokens_of(sound, 8);
    for (std::size_t failing = 0; failing < 7; ++failing) {
        tq::test::flaky_policy policy{tq::test::random_bigram(6, 1), {failing, failing + 1}};
        tq::decoder decode{policy, tq::zero_value{}, {.seed = 9}};
        auto stream = decode.generate(prompt, 8);
        token_list seen;  // each step once, over all attempts
        const auto attempt = [&] {
            for (const tq::step& step : stream) seen.push_back(step.token);
        };
        for (int error = 0; error < 2; ++error) {
            CHECK_THROWS_AS(attempt(), tq::backend_error);
            CHECK(seen.size() == failing);
            CHECK(std::ranges::equal(stream.answer(), seen));
        }
        attempt();
        CHECK(seen == expected);
        CHECK(std::ranges::equal(stream.answer(), expected));
    }
}

TEST_CASE("token_stream: after an error an increment of the same iterator retries too") {
    tq::test::flaky_policy policy{tq::test::random_bigram(6, 1), {2}};
    tq::decoder decode{policy, tq::zero_value{}, {.seed = 9}};
    tq::decoder sound{tq::test::random_bigram(6, 1), tq::zero_value{}, {.seed = 9}};
    auto stream = decode.generate(prompt, 4);
    auto it = stream.begin();
    ++it;
    CHECK_THROWS_AS(++it, tq::backend_error);
    for (; it != stream.end(); ++it) continue;
    CHECK(std::ranges::equal(stream.answer(), tokens_of(sound, 4)));
}
