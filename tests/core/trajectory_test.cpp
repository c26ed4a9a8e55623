#include <tq/core/trajectory.hpp>

#include <algorithm>

#include "support/catch.hpp"

TEST_CASE("is_end_token: true for each of several end tokens, false for all without any") {
    const tq::token_list ends{4, 9};
    CHECK(tq::is_end_token(4, ends));
    CHECK(tq::is_end_token(9, ends));
    CHECK_FALSE(tq::is_end_token(5, ends));
    CHECK_FALSE(tq::is_end_token(4, {}));
}

TEST_CASE("decode_state: prompt and answer are the two parts of the sequence") {
    const tq::token_list sequence{1, 2, 3, 4, 5};
    const tq::decode_state state{.sequence = sequence,
                                 .prompt_size = 2,
                                 .tokens_left = 1,
                                 .end_tokens = {},
                                 .key = tq::random_key{}};
    CHECK(std::ranges::equal(state.prompt(), tq::token_list{1, 2}));
    CHECK(std::ranges::equal(state.answer(), tq::token_list{3, 4, 5}));
    CHECK(state.answer().data() == sequence.data() + 2);  // views, not copies
}

TEST_CASE("decode_state: an answer that has not begun is empty") {
    const tq::token_list sequence{1, 2};
    const tq::decode_state state{.sequence = sequence,
                                 .prompt_size = 2,
                                 .tokens_left = 3,
                                 .end_tokens = {},
                                 .key = tq::random_key{}};
    CHECK(state.answer().empty());
    CHECK(state.prompt().size() == 2);
}

TEST_CASE("trajectory: tokens are what follows the start") {
    const tq::trajectory rollout{.sequence = {7, 8, 9}, .start = 1, .finished = false};
    CHECK(std::ranges::equal(rollout.tokens(), tq::token_list{8, 9}));
    const tq::trajectory nothing{.sequence = {7, 8, 9}, .start = 3, .finished = true};
    CHECK(nothing.tokens().empty());
}

TEST_CASE("sampling_rule: the default is the model as it is; temperature 0 is greedy") {
    CHECK(tq::sampling_rule{}.temperature == 1.0);
    CHECK(tq::sampling_rule{}.top_p == 1.0);
    CHECK_FALSE(tq::sampling_rule{}.greedy());
    CHECK(tq::sampling_rule{.temperature = 0.0}.greedy());
}
