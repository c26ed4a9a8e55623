#include <tq/concepts/reward.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"

namespace {

using answers_view = std::span<const tq::answer_view>;

const auto length = [](tq::token_view, tq::token_view answer) {
    return static_cast<double>(answer.size());
};
struct batch_length {
    void score(answers_view answers, std::span<double> values) {
        ++calls;
        for (std::size_t i = 0; i < answers.size(); ++i)
            values[i] = static_cast<double>(answers[i].answer.size());
    }
    double operator()(tq::token_view, tq::token_view) { return -1; }  // not used: batches win
    int calls = 0;
};
struct whole_number {
    int operator()(tq::token_view, tq::token_view) const { return 3; }
};
struct with_range : whole_number {
    [[nodiscard]] tq::reward_range range() const { return {.lo = 0, .hi = 1}; }
};
struct returns_text {
    const char* operator()(tq::token_view, tq::token_view) { return ""; }
};
struct one_argument {
    double operator()(tq::token_view) { return 0; }
};
struct returns_values {
    std::vector<double> score(answers_view) { return {}; }
};

double free_function(tq::token_view, tq::token_view) { return 0.5; }

/// The rewards of three answers of 0, 1 and 2 tokens.
template <class Judge>
std::vector<double> scores_of(Judge&& judge) {
    static const tq::token_list tokens{1, 2};
    const tq::token_view view{tokens};
    const std::vector<tq::answer_view> answers{
        {view, view.first(0), true}, {view, view.first(1)}, {view, view}};
    std::vector<double> values(3);
    tq::score_answers(judge, answers, values);
    return values;
}

/// A reward that gives `odd` to answers of one token and 0 to all others.
auto odd_one(double odd) {
    return [odd](tq::token_view, tq::token_view answer) { return answer.size() == 1 ? odd : 0.0; };
}

}  // namespace

TEST_CASE("reward: lambdas, functions, call operators and batch judges are accepted") {
    STATIC_REQUIRE(tq::single_reward<decltype(length)>);
    STATIC_REQUIRE(tq::single_reward<decltype(free_function)>);
    STATIC_REQUIRE(tq::single_reward<whole_number>);
    STATIC_REQUIRE(tq::reward<whole_number&>);
    STATIC_REQUIRE(tq::batch_reward<batch_length>);
    STATIC_REQUIRE(tq::reward<tq::bounded<whole_number>>);
    STATIC_REQUIRE(tq::reward<tq::bounded<batch_length>>);
    STATIC_REQUIRE(tq::explain_reward<whole_number>());
    STATIC_REQUIRE(tq::explain_reward<batch_length>());
}

TEST_CASE("reward: nearly-right judges are rejected") {
    STATIC_REQUIRE_FALSE(tq::reward<returns_text>);
    STATIC_REQUIRE_FALSE(tq::reward<one_argument>);
    STATIC_REQUIRE_FALSE(tq::reward<returns_values>);
    STATIC_REQUIRE_FALSE(tq::reward<const batch_length>);
    STATIC_REQUIRE_FALSE(tq::reward<double>);
}

TEST_CASE("score_answers: single and batch rewards give the same; a batch is one call") {
    batch_length batch;
    CHECK(scores_of(length) == std::vector<double>{0, 1, 2});
    CHECK(scores_of(batch) == std::vector<double>{0, 1, 2});
    CHECK(batch.calls == 1);
    CHECK(scores_of(free_function) == std::vector<double>(3, 0.5));
}

TEST_CASE("score_answers: no answers, no call") {
    batch_length batch;
    tq::score_answers(batch, {}, {});
    CHECK(batch.calls == 0);
}

TEST_CASE("score_answers: NaN and infinite rewards are errors that name the answer") {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const std::string text =
        tq::test::message_of<tq::backend_error>([] { (void)scores_of(odd_one(std::nan(""))); });
    CHECK(tq::test::contains(text, "reward: value nan of answer 1 of 3, must be finite"));
    CHECK_THROWS_AS(scores_of(odd_one(inf)), tq::backend_error);
    CHECK_THROWS_AS(scores_of(odd_one(-inf)), tq::backend_error);
}

TEST_CASE("score_answers: a reward outside its stated range is an error, rounding is not") {
    const tq::bounded low{odd_one(-0.5), {.lo = 0, .hi = 1}};
    const tq::bounded high{odd_one(1.5), {.lo = 0, .hi = 1}};
    const std::string text = tq::test::message_of<tq::backend_error>([&] { (void)scores_of(low); });
    CHECK(text ==
          "reward: value -0.500000 of answer 1 of 3, must be finite and in "
          "[0.000000, 1.000000]");
    CHECK_THROWS_AS(scores_of(high), tq::backend_error);
    CHECK_THROWS_AS(scores_of(with_range{}), tq::backend_error);
    CHECK_NOTHROW(scores_of(tq::bounded{odd_one(1 + 1e-7), {.lo = 0, .hi = 1}}));
    CHECK_NOTHROW(scores_of(odd_one(1e300)));  // nothing stated, nothing checked
}

TEST_CASE("range_of: what the reward states, else nothing") {
    CHECK_FALSE(tq::range_of(length).has_value());
    CHECK(tq::range_of(with_range{}).value().hi == 1);
    const tq::bounded judge{whole_number{}, {.lo = -2, .hi = 3}};
    CHECK(tq::range_of(judge).value().lo == -2);
    CHECK(tq::range_of(tq::bounded{batch_length{}, {.lo = 0}}).value().hi ==
          std::numeric_limits<double>::infinity());
}

TEST_CASE("bounded: judges like the reward inside") {
    CHECK(scores_of(tq::bounded{batch_length{}, {.lo = 0, .hi = 2}}) ==
          std::vector<double>{0, 1, 2});
    CHECK(scores_of(tq::bounded{whole_number{}, {.lo = 0, .hi = 5}}) == std::vector<double>(3, 3));
}
