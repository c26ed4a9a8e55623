#include <tq/decode/block_decoder.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/transfer/direct.hpp>

#include <algorithm>

#include "support/answers.hpp"
#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"

using tq::token_list;
using tq::test::answers_of;
using tq::test::message_of;

namespace {

const std::vector<token_list> prompts{{0}, {1, 2}, {0}, {4, 4, 4}, {2}};

double last_token(tq::token_view, tq::token_view answer) {
    return answer.empty() ? 0.0 : static_cast<double>(answer.back());
}

/// A decoder with sampled rollouts, so that every kind of random number is in play.
auto make_decoder(std::uint64_t seed) {
    return tq::decoder{tq::test::random_bigram(6, 1, {5}),
                       tq::direct_transfer{tq::test::random_bigram(6, 2, {5}),
                                           last_token,
                                           {.horizon = 3, .rollouts = 2, .sampling = {}}},
                       {.alpha = 1, .top_k = 4, .seed = seed}};
}

template <class Generation>
void finish(Generation& answers) {
    while (!answers.advance().empty()) continue;
}

}  // namespace

TEST_CASE("generation: many prompts together get the tokens that each gets alone") {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
        auto decode = make_decoder(seed);
        auto together = decode.generate_all(prompts, 7);
        finish(together);
        for (std::size_t i = 0; i < prompts.size(); ++i) {
            auto alone = decode.generate(prompts[i], 7, i);
            for (const tq::step& step : alone) CHECK(step.prompt == 0);
            CHECK(std::ranges::equal(alone.answer(), together.answer(i)));
            CHECK(alone.finished() == together.finished(i));
            CHECK(alone.kl() == together.kl(i));
        }
    }
}

TEST_CASE("generation: the same seed gives the same answers, another seed or index others") {
    auto a = make_decoder(3), b = make_decoder(3), c = make_decoder(4);
    auto first = a.generate_all(prompts, 9), second = b.generate_all(prompts, 9),
         third = c.generate_all(prompts, 9);
    finish(first);
    finish(second);
    finish(third);
    CHECK(answers_of(first) == answers_of(second));
    CHECK(answers_of(first) != answers_of(third));
    std::vector<token_list> of_index;
    for (std::size_t index = 0; index < 8; ++index) {
        auto stream = a.generate(prompts[0], 9, index);
        for (auto it = stream.begin(); it != stream.end(); ++it) continue;
        of_index.emplace_back(stream.answer().begin(), stream.answer().end());
    }
    CHECK(std::ranges::count(of_index, of_index[0]) < 8);
}

TEST_CASE("generation: each advance gives one step to every answer that is not done") {
    auto decode = make_decoder(5);
    auto answers = decode.generate_all(prompts, 6);
    for (;;) {
        std::vector<std::size_t> waiting;
        for (std::size_t i = 0; i < answers.size(); ++i)
            if (!answers.done(i)) waiting.push_back(i);
        const auto steps = answers.advance();
        REQUIRE(steps.size() == waiting.size());
        for (std::size_t j = 0; j < steps.size(); ++j) CHECK(steps[j].prompt == waiting[j]);
        if (steps.empty()) break;
    }
    for (std::size_t i = 0; i < answers.size(); ++i) {
        CHECK(answers.done(i));
        CHECK((answers.finished(i) || answers.answer(i).size() == 6));
        CHECK(std::ranges::equal(answers.prompt(i), prompts[i]));
    }
}

TEST_CASE("generation: no prompts and no tokens are no work") {
    auto decode = make_decoder(6);
    auto none = decode.generate_all({}, 5);
    CHECK(none.advance().empty());
    auto nothing = decode.generate_all(prompts, 0);
    CHECK(nothing.advance().empty());
    CHECK(nothing.done(0));
    CHECK_FALSE(nothing.finished(0));
}

TEST_CASE("generation: an error loses nothing, and the retry goes on as if it had not been") {
    auto sound = make_decoder(7);
    auto expected = sound.generate_all(prompts, 6);
    finish(expected);
    // Calls of the policy, of the baseline's engine: fail at each of the first ones in turn.
    for (std::size_t failing = 0; failing < 6; ++failing) {
        tq::test::flaky_policy policy{tq::test::random_bigram(6, 1, {5}), {failing}};
        tq::test::flaky_policy baseline{tq::test::random_bigram(6, 2, {5}), {2 * failing + 1}};
        tq::direct_transfer value{
            baseline, last_token, {.horizon = 3, .rollouts = 2, .sampling = {}}};
        tq::decoder decode{policy, value, {.alpha = 1, .top_k = 4, .seed = 7}};
        auto answers = decode.generate_all(prompts, 6);
        std::size_t errors = 0;
        for (bool done = false; !done;) {
            const auto before = answers_of(answers);
            try {
                done = answers.advance().empty();
            } catch (const tq::backend_error&) {
                ++errors;
                CHECK(answers_of(answers) == before);
            }
        }
        CHECK(errors >= 1);
        CHECK(answers_of(answers) == answers_of(expected));
        CHECK(answers.kl(1) == expected.kl(1));
    }
}

TEST_CASE("generation: prompts that make no sense are refused in words") {
    auto decode = make_decoder(8);
    const auto refusal = [&](const std::vector<token_list>& bad) {
        return message_of<tq::invalid_option>([&] { (void)decode.generate_all(bad, 4); });
    };
    CHECK(refusal({{0}, {}}) == "decoder: prompt 1: size = 0, must be >= 1 token");
    CHECK(refusal({{0, 6}}) == "decoder: prompt 0: token = 6, must be in [0, 6)");
    CHECK(refusal({{0}, {1}, {-1}}) == "decoder: prompt 2: token = -1, must be in [0, 6)");
    CHECK_THROWS_AS(decode.generate({}, 4), tq::invalid_option);
}

TEST_CASE("generation: a prompt that joins later gets the answer it would have had alone") {
    auto model = tq::test::random_bigram(6, 2);
    tq::direct_transfer q{model, tq::test::even_reward{}, {.horizon = 3}};
    tq::decoder decoder{model, q, {.alpha = 0.1, .seed = 7}};
    const tq::token_list first{0}, late{3};
    auto alone = decoder.generate(late, 5, 1);
    for (const tq::step& step : alone) static_cast<void>(step);

    auto together = decoder.generate_all(std::vector<token_list>{first}, 5);
    static_cast<void>(together.advance());
    static_cast<void>(together.advance());
    const std::size_t i = together.add(
        {.sequence = late, .max_tokens = 5, .end_tokens = {}, .key = tq::random_key{7}.fold_in(1)});
    CHECK(i == 1);
    while (!together.advance().empty()) {
    }
    CHECK(std::ranges::equal(together.answer(1), alone.answer()));
    CHECK(together.answer(0).size() == 5);
}

TEST_CASE("generation: a cancelled answer keeps what it has, and the others go on as before") {
    auto model = tq::test::random_bigram(6, 2);
    tq::decoder decoder{model, tq::zero_value{}, {.seed = 7}};
    const std::vector<tq::token_list> asked{{0}, {1}};
    auto whole = decoder.generate_all(asked, 6);
    while (!whole.advance().empty()) {
    }
    auto cut = decoder.generate_all(asked, 6);
    static_cast<void>(cut.advance());
    cut.cancel(0);
    CHECK(cut.done(0));
    while (!cut.advance().empty()) {
    }
    CHECK(cut.answer(0).size() == 1);
    CHECK_FALSE(cut.finished(0));
    CHECK(std::ranges::equal(cut.answer(1), whole.answer(1)));
}

TEST_CASE("generation: blocks stream, and a way of decoding of one's own needs next alone") {
    auto model = tq::test::random_bigram(6, 2);
    tq::direct_transfer q{model, tq::test::even_reward{}, {.horizon = 3}};
    tq::block_decoder blocks{model, q, {.alpha = 0.1, .block = 2, .candidates = 3}};
    const tq::token_list prompt{0};
    std::size_t tokens = 0;
    auto stream = blocks.generate(prompt, 6);
    for (const tq::block_step& step : stream) tokens += step.tokens.size();
    CHECK(tokens == stream.answer().size());

    struct counter {  // writes its position
        using step_type = tq::block_step;
        [[nodiscard]] static std::vector<tq::block_step> next(
            std::span<const tq::decode_state> states) {
            std::vector<tq::block_step> steps;
            for (const tq::decode_state& state : states) {
                steps.emplace_back();
                steps.back().tokens = {static_cast<tq::token_id>(state.answer().size())};
            }
            return steps;
        }
        [[nodiscard]] static tq::token_view end_tokens() { return {}; }
    };
    counter own;
    tq::generation<counter> answers{own};
    answers.add({.sequence = prompt, .max_tokens = 3, .end_tokens = {}});
    while (!answers.advance().empty()) {
    }
    CHECK(std::ranges::equal(answers.answer(0), tq::token_list{0, 1, 2}));
}
