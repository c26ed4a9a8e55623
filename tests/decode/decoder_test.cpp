// The decoder's limits: the frozen model, the argmax of Q, and its own rules.

#include <tq/decode/decoder.hpp>
#include <tq/kernels/argmax.hpp>
#include <tq/tabular/models.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/worlds.hpp"

using tq::decode_options;
using tq::selection;
using tq::token_list;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const token_list prompt{0};

/// Q that differs from token to token and from state to state, in (0, 1).
struct arbitrary_value {
    static double q(const tq::decode_state& state, tq::token_id token) {
        return tq::random_key{state.sequence.size()}
            .fold_in(static_cast<std::uint64_t>(state.sequence.back()))
            .uniform(static_cast<std::uint64_t>(token));
    }
    void evaluate(std::span<const tq::value_query> queries) {
        for (const tq::value_query& query : queries)
            for (std::size_t i = 0; i < query.candidates.size(); ++i)
                query.values[i] = {.q = q(query.state, query.candidates[i]), .standard_error = 0};
    }
};

template <class Decoder>
token_list decoded(Decoder&& decode, std::size_t max_tokens = 10) {
    auto stream = decode.generate(prompt, max_tokens);
    for (auto it = stream.begin(); it != stream.end(); ++it) continue;
    return {stream.answer().begin(), stream.answer().end()};
}

}  // namespace

TEST_CASE("decoder: alpha infinite and alpha 1e9 are the frozen model, token for token") {
    auto model = tq::test::random_bigram(8, 1, {7});
    for (const selection select : {selection::sample, selection::argmax})
        for (std::uint64_t seed = 0; seed < 200; ++seed) {
            const auto options = [&](double alpha) {
                return decode_options{.alpha = alpha, .top_k = 5, .select = select, .seed = seed};
            };
            const token_list frozen = decoded(tq::decoder{model, tq::zero_value{}, options(0.1)});
            const token_list infinite =
                decoded(tq::decoder{model, arbitrary_value{}, options(inf)});
            const token_list large = decoded(tq::decoder{model, arbitrary_value{}, options(1e9)});
            if (infinite != frozen || large != frozen) FAIL("seed " << seed);
        }
    SUCCEED();
}

TEST_CASE("decoder: without a tilt, argmax is the model's own argmax path") {
    auto model = tq::test::random_bigram(8, 2);
    const token_list answer =
        decoded(tq::decoder{model, tq::zero_value{}, {.select = selection::argmax}});
    token_list sequence = prompt;
    for (const tq::token_id token : answer) {
        const tq::token_view view{sequence};
        CHECK(token == tq::argmax(model.next_logits({&view, 1})[0]));
        sequence.push_back(token);
    }
}

TEST_CASE("decoder: alpha 1e-6 takes the candidate of the largest Q, sampled or not") {
    for (const selection select : {selection::sample, selection::argmax})
        for (std::uint64_t seed = 0; seed < 30; ++seed) {
            tq::decoder decode{tq::test::random_bigram(8, seed),
                               arbitrary_value{},
                               {.alpha = 1e-6, .top_k = 4, .select = select, .seed = seed}};
            for (const tq::step& step : decode.generate(prompt, 8)) {
                const auto& q = step.distribution.q;
                CHECK(step.distribution.size() == 4);
                CHECK(q[step.choice] == *std::max_element(q.begin(), q.end()));
            }
        }
}

TEST_CASE("decoder: in a tie of Q, alpha 1e-6 leaves the choice to the prior") {
    tq::decoder decode{tq::test::constant_policy{{0, 2, 1}},
                       tq::zero_value{},
                       {.alpha = 1e-6, .select = selection::argmax}};
    CHECK(decoded(decode, 3) == token_list{1, 1, 1});
}

TEST_CASE("decoder: the divergence of a step is that of its distribution, or of its argmax") {
    auto model = tq::test::random_bigram(8, 3);
    tq::decoder sampled{model, arbitrary_value{}, {.alpha = 0.3}};
    for (const tq::step& step : sampled.generate(prompt, 5)) {
        CHECK(step.kl == step.distribution.kl);
        CHECK(step.kl > 0);
    }
    tq::decoder mode{model, arbitrary_value{}, {.alpha = 0.3, .select = selection::argmax}};
    for (const tq::step& step : mode.generate(prompt, 5)) {
        CHECK(step.kl == -step.distribution.log_pi[step.choice]);
        CHECK(step.distribution.log_p[step.choice] ==
              *std::max_element(step.distribution.log_p.begin(), step.distribution.log_p.end()));
    }
}

TEST_CASE("decoder: end tokens are the policy's, unless the options name others") {
    auto model = tq::test::random_bigram(8, 4, {7});
    tq::decoder stated{model, tq::zero_value{}};
    CHECK(std::ranges::equal(stated.end_tokens(), token_list{7}));
    tq::decoder named{model, tq::zero_value{}, {.end_tokens = {2, 3}}};
    CHECK(std::ranges::equal(named.end_tokens(), token_list{2, 3}));
    tq::decoder silent{tq::test::constant_policy{{0, 0}}, tq::zero_value{}};
    CHECK(silent.end_tokens().empty());
    CHECK_THROWS_WITH((tq::decoder{model, tq::zero_value{}, {.end_tokens = {2, -1}}}),
                      "decoder: end token = -1, must be in [0, 8)");
    CHECK_THROWS_WITH((tq::decoder{model, tq::zero_value{}, {.end_tokens = {8}}}),
                      "decoder: end token = 8, must be in [0, 8)");
}

TEST_CASE("decoder: the value is told what is left of the answer, and where it ends") {
    struct listener {
        void evaluate(std::span<const tq::value_query> queries) {
            tokens_left.push_back(queries[0].state.tokens_left);
            answer_sizes.push_back(queries[0].state.answer().size());
            ends.assign(queries[0].state.end_tokens.begin(), queries[0].state.end_tokens.end());
            tq::zero_value{}.evaluate(queries);
        }
        std::vector<std::size_t> tokens_left, answer_sizes;
        token_list ends;
    } value;
    tq::decoder decode{tq::test::constant_policy{{0, 0, -30}}, value, {.end_tokens = {2}}};
    (void)decoded(decode, 4);
    CHECK(value.tokens_left == std::vector<std::size_t>{4, 3, 2, 1});
    CHECK(value.answer_sizes == std::vector<std::size_t>{0, 1, 2, 3});
    CHECK(value.ends == token_list{2});
}

TEST_CASE("decoder: lvalues are held by reference, rvalues are moved in") {
    auto model = tq::test::random_bigram(3, 1);
    arbitrary_value value;
    using tq::tabular::bigram_model;
    tq::decoder both{model, value};
    tq::decoder neither{tq::test::random_bigram(3, 1), arbitrary_value{}};
    tq::decoder anchored{model, value, model};
    STATIC_REQUIRE(std::is_same_v<decltype(both), tq::decoder<bigram_model&, arbitrary_value&>>);
    STATIC_REQUIRE(std::is_same_v<decltype(neither), tq::decoder<bigram_model, arbitrary_value>>);
    STATIC_REQUIRE(std::is_same_v<decltype(anchored),
                                  tq::decoder<bigram_model&, arbitrary_value&, bigram_model>>);
    CHECK(decoded(both) == decoded(neither));
    CHECK(decoded(both) == decoded(anchored));
}

TEST_CASE("decoder: one decision for each state, for people with their own loop") {
    tq::decoder decode{tq::test::random_bigram(8, 5), arbitrary_value{}, {.alpha = 0.3, .seed = 2}};
    const token_list expected = decoded(decode, 6);
    token_list sequence = prompt;
    const tq::random_key key = tq::random_key{2}.fold_in(0);
    for (std::size_t position = 0; position < 6; ++position) {
        const tq::decode_state state{.sequence = sequence,
                                     .prompt_size = 1,
                                     .tokens_left = 6 - position,
                                     .end_tokens = {},
                                     .key = key.fold_in(position)};
        sequence.push_back(decode.next({&state, 1})[0].token);
    }
    CHECK(std::ranges::equal(tq::token_view{sequence}.subspan(1), expected));
    CHECK(decode.next({}).empty());
}

TEST_CASE("decoder: NaN from the model or from Q is a backend error") {
    tq::decoder broken{tq::test::constant_policy{{0, std::nanf("")}}, tq::zero_value{}};
    CHECK_THROWS_AS(decoded(broken), tq::backend_error);
    struct no_number {
        void evaluate(std::span<const tq::value_query> queries) {
            for (const tq::value_query& query : queries) query.values[0].q = std::nan("");
        }
    };
    tq::decoder lost{tq::test::random_bigram(3, 1), no_number{}};
    CHECK_THROWS_AS(decoded(lost), tq::backend_error);
}

TEST_CASE("decoder: options out of range are refused") {
    const auto build = [](decode_options options) {
        tq::decoder{tq::test::random_bigram(3, 1), tq::zero_value{}, std::move(options)};
    };
    CHECK_THROWS_AS(build({.alpha = 0}), tq::invalid_option);
    CHECK_THROWS_AS(build({.top_k = 0}), tq::invalid_option);
    CHECK_THROWS_AS(build({.temperature = -1}), tq::invalid_option);
}
