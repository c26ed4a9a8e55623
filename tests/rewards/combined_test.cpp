#include <tq/rewards/combined.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <tq/decode/decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/rewards.hpp"
#include "support/worlds.hpp"
#include "transfer/asking.hpp"

using tq::reward_product;
using tq::reward_term;
using tq::weighted_sum;
using tq::test::contains;
using tq::test::message_of;

static_assert(tq::batch_reward<weighted_sum>);
static_assert(tq::batch_reward<reward_product>);

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

const auto length = [](tq::token_view, tq::token_view answer) {
    return static_cast<double>(answer.size());
};
const auto first = [](tq::token_view, tq::token_view answer) {
    return answer.empty() ? 0 : answer.front();
};

/// Counts the calls; an answer is worth its prompt's size.
struct prompt_size {
    void score(std::span<const tq::answer_view> answers, std::span<double> values) {
        ++calls;
        for (std::size_t i = 0; i < answers.size(); ++i)
            values[i] = static_cast<double>(answers[i].prompt.size());
    }
    int calls = 0;
};

/// The value of a random corner, end or inside of a range, by the answer's one token.
struct points {
    std::vector<double> values{};
    tq::reward_range bounds{};
    double operator()(tq::token_view, tq::token_view answer) const {
        return values[static_cast<std::size_t>(answer.front())];
    }
    [[nodiscard]] tq::reward_range range() const { return bounds; }
};

/// Prompt [7, 7], answers [], [5] and [2, 3].
template <class Judge>
std::vector<double> scores_of(Judge&& judge) {
    static const tq::token_list prompt{7, 7}, tokens{5, 2, 3};
    const tq::token_view view{tokens};
    const std::vector<tq::answer_view> answers{
        {prompt, view.first(0), true}, {prompt, view.first(1)}, {prompt, view.subspan(1)}};
    std::vector<double> values(3);
    tq::score_answers(judge, answers, values);
    return values;
}

double uniform(tq::random_key key, std::uint64_t i, double lo, double hi) {
    return lo + (hi - lo) * key.uniform(i);
}

/// Three terms with random ranges and weights; answer t of 2^3 corners takes every combination of
/// ends, the others are random points inside.
struct random_terms {
    static constexpr std::size_t corners = 8, all = 40;
    std::vector<reward_term> terms{};
    explicit random_terms(tq::random_key key, double lowest, double weight_lo, double weight_hi) {
        for (std::uint64_t j = 0; j < 3; ++j) {
            const tq::random_key own = key.fold_in(j);
            const double a = uniform(own, 0, lowest, 3), b = uniform(own, 1, lowest, 3);
            points judge{.bounds = {std::min(a, b), std::max(a, b)}};
            for (std::size_t t = 0; t < corners; ++t)
                judge.values.push_back(t >> j & 1U ? judge.bounds.hi : judge.bounds.lo);
            for (std::size_t t = corners; t < all; ++t)
                judge.values.push_back(uniform(own, 2 + t, judge.bounds.lo, judge.bounds.hi));
            terms.emplace_back("term " + std::to_string(j), std::move(judge),
                               uniform(own, 2, weight_lo, weight_hi));
        }
    }
};

/// The values of answers [0], [1], ... [count - 1].
template <class Judge>
std::vector<double> values_of_tokens(Judge& judge, std::size_t count) {
    std::vector<tq::token_id> tokens(count);
    std::vector<tq::answer_view> answers;
    for (std::size_t t = 0; t < count; ++t) {
        tokens[t] = static_cast<tq::token_id>(t);
        answers.push_back({{}, tq::token_view{tokens}.subspan(t, 1), true});
    }
    std::vector<double> values(count);
    tq::score_answers(judge, answers, values);
    return values;
}

/// The range holds every value exactly, and the corners attain its ends.
template <class Judge>
void check_range(Judge judge) {
    const std::vector<double> values = values_of_tokens(judge, random_terms::all);
    const tq::reward_range range = judge.range();
    const auto [least, most] = std::ranges::minmax(values);
    CHECK(least == range.lo);
    CHECK(most == range.hi);
    const auto inside = std::span<const double>{values}.subspan(random_terms::corners);
    CHECK(std::ranges::min(inside) > range.lo);
}

tq::tabular::node_values node_rewards(const tq::test::small_world& world, std::uint64_t which) {
    return tq::tabular::random_rewards(world.tree, tq::random_key{91}.fold_in(which));
}

/// A tree's rewards with the range that they keep to.
struct ranged : tq::tabular::tree_reward {
    using tree_reward::tree_reward;
    [[nodiscard]] tq::reward_range range() const { return {0, 1}; }
};

}  // namespace

TEST_CASE("weighted_sum: values by hand; one call of each reward for a batch") {
    prompt_size counted;
    weighted_sum sum{reward_term{"length", length, 0.5}, reward_term{"first", first, -2},
                     reward_term{"prompt", counted, 10}};
    CHECK(scores_of(sum) == std::vector<double>{20, 0.5 - 10 + 20, 1 - 4 + 20});
    CHECK(counted.calls == 1);  // and held by reference
    CHECK(scores_of(weighted_sum({reward_term{"length", length, -1}}, 1)) ==
          std::vector<double>{1, 0, -1});
    CHECK(scores_of(weighted_sum{reward_term{"all", sum}, reward_term{"length", length}}) ==
          std::vector<double>{20, 11.5, 19});
}

TEST_CASE("reward_product: values by hand, weights are exponents") {
    CHECK(scores_of(reward_product{reward_term{"length", length}, reward_term{"first", first}}) ==
          std::vector<double>{0, 5, 4});
    const tq::bounded size{length, {.lo = 0, .hi = 100}};
    const auto values =
        scores_of(reward_product{reward_term{"a", size, 2}, reward_term{"b", size}});
    CHECK(values == std::vector<double>{0, 1, 8});
}

TEST_CASE("score_terms: a row for each answer, a column for each term; combine gives the value") {
    weighted_sum sum{reward_term{"length", length, 0.5}, reward_term{"first", first, 3}};
    reward_product product{reward_term{"length", length}, reward_term{"first", first}};
    const tq::token_list tokens{5, 2};
    const std::vector<tq::answer_view> answers{{tokens, tokens, true},
                                               {tokens, tq::token_view{tokens}.subspan(1), false}};
    std::vector<double> rows(4);
    sum.score_terms(answers, rows);
    CHECK(rows == std::vector<double>{2, 5, 1, 2});
    CHECK(sum.terms()[1].name() == "first");
    CHECK(sum.combine(std::span{rows}.first(2)) == 16);
    product.score_terms(answers, rows);
    CHECK(product.combine(std::span{rows}.last(2)) == 2);
    CHECK(contains(message_of<tq::invalid_option>([&] { sum.score_terms(answers, {}); }),
                   "weighted_sum: values size = 0, must be answers x terms = 4"));
}

TEST_CASE("weighted_sum: the range holds every value and is attained") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const random_terms some{tq::random_key{3}.fold_in(seed), -3, -2, 2};
        check_range(weighted_sum{some.terms, uniform(tq::random_key{seed}, 0, -1, 1)});
    }
}

TEST_CASE("reward_product: the range holds every value and is attained") {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        check_range(reward_product{random_terms{tq::random_key{4}.fold_in(seed), -3, 1, 1}.terms});
        check_range(reward_product{random_terms{tq::random_key{5}.fold_in(seed), 0, 0.1, 2}.terms});
    }
}

TEST_CASE("ranges that are not known are not claimed") {
    const tq::bounded unit{length, {.lo = 0, .hi = 1}};
    const tq::bounded positive{length, {.lo = 0}};
    const weighted_sum unknown{reward_term{"unit", unit}, reward_term{"first", first}};
    CHECK(unknown.range().lo == -inf);
    CHECK(unknown.range().hi == inf);
    const weighted_sum half{reward_term{"unit", unit}, reward_term{"positive", positive, -1}};
    CHECK(half.range().lo == -inf);
    CHECK(half.range().hi == 1);
    const weighted_sum unused{reward_term{"unit", unit, 3}, reward_term{"first", first, 0}};
    CHECK(unused.range().lo == 0);
    CHECK(unused.range().hi == 3);
    const reward_product product{reward_term{"unit", unit}, reward_term{"positive", positive}};
    CHECK(product.range().lo == -inf);
    CHECK(product.range().hi == inf);
}

TEST_CASE("values that rounding put outside a term's range stay in the range of the whole") {
    const tq::bounded high{[](tq::token_view, tq::token_view) { return 1 + 1e-7; }, {0, 1}};
    CHECK(scores_of(weighted_sum{reward_term{"high", high, 1e6}})[0] == 1e6);
    CHECK(scores_of(reward_product{reward_term{"high", high, 100}})[0] == 1);
}

TEST_CASE("direct_transfer of a sum is the weighted sum of the direct_transfers") {
    tq::test::for_worlds(20, [](const tq::test::small_world& world, std::uint64_t number) {
        tq::tabular::tree_policy baseline{world.tree, world.baseline};
        const std::array<double, 3> weights{0.7, -1.3, 2};
        const tq::rollout_options options{
            .horizon = 5, .rollouts = 8, .sampling = {.temperature = 1}};
        const tq::test::question question{
            .sequence = {0},
            .prompt_size = 1,
            .tokens_left = world.tree.depth(),
            .end_tokens = {baseline.end_tokens().begin(), baseline.end_tokens().end()},
            .key = tq::random_key{number}};
        tq::token_list candidates(world.tree.vocab_size());
        for (std::size_t z = 0; z < candidates.size(); ++z)
            candidates[z] = static_cast<tq::token_id>(z);

        std::vector<double> expected(candidates.size(), 0.25);
        std::vector<reward_term> terms;
        for (std::size_t j = 0; j < weights.size(); ++j) {
            tq::tabular::tree_reward reward{world.tree, node_rewards(world, j)};
            tq::direct_transfer q{baseline, reward, options};
            const auto values = tq::test::ask(q, question, candidates);
            for (std::size_t z = 0; z < candidates.size(); ++z)
                expected[z] += weights[j] * values[z].q;
            terms.emplace_back(std::to_string(j), std::move(reward), weights[j]);
        }
        tq::direct_transfer q{baseline, weighted_sum{terms, 0.25}, options};
        const auto values = tq::test::ask(q, question, candidates);
        for (std::size_t z = 0; z < candidates.size(); ++z)
            CHECK(values[z].q == Catch::Approx(expected[z]).margin(1e-12));
    });
}

TEST_CASE("the exact race with a sum or product gives the tokens of exhaustive, at fewer tokens") {
    std::size_t raced = 0, all = 0;
    const auto compare = [&](auto judge, const tq::test::small_world& world, std::uint64_t seed) {
        tq::tabular::tree_policy policy{world.tree, world.sft},
            baseline{world.tree, world.baseline};
        tq::direct_transfer q{baseline, judge, {.horizon = 5}};
        std::array<tq::token_list, 2> answers;
        for (const bool exact : {false, true}) {
            tq::decoder decode{policy,
                               q,
                               {.alpha = 0.15,
                                .top_k = 4,
                                .race = exact ? tq::race_mode::exact : tq::race_mode::exhaustive,
                                .seed = seed}};
            for (const tq::step& step : decode.generate(tq::token_list{0}, world.tree.depth())) {
                answers[exact].push_back(step.token);
                (exact ? raced : all) += step.spent.baseline;
            }
        }
        CHECK(answers[0] == answers[1]);
    };
    tq::test::for_worlds(60, [&](const tq::test::small_world& world, std::uint64_t seed) {
        const ranged a{world.tree, node_rewards(world, 0)}, b{world.tree, node_rewards(world, 1)};
        compare(weighted_sum{reward_term{"a", a, 0.7}, reward_term{"b", b, -0.3}}, world, seed);
        compare(reward_product{reward_term{"a", a}, reward_term{"b", b, 0.5}}, world, seed);
    });
    INFO(raced << " of " << all << " model tokens");
    CHECK(raced < all);
}

TEST_CASE("combined rewards: errors name the field or the term") {
    const auto sum_of = [](std::vector<reward_term> terms, double constant = 0) {
        return message_of<tq::invalid_option>([&] { weighted_sum{terms, constant}; });
    };
    const auto product_of = [](reward_term term) {
        return message_of<tq::invalid_option>([&] { reward_product{term}; });
    };
    const double nan = std::nan("");
    CHECK(sum_of({}) == "weighted_sum: terms = 0, must be >= 1 of them");
    CHECK(sum_of({{"a", length}, {"a", first}}) ==
          "weighted_sum: name of term 1 = a, must be not empty and not the name of another term");
    CHECK(contains(sum_of({{"", length}}), "name of term 0"));
    CHECK(sum_of({{"a", length, nan}}) == "weighted_sum: weight of term a = nan, must be finite");
    CHECK(contains(sum_of({{"a", length, inf}}), "weight of term a = inf"));
    CHECK(contains(sum_of({{"a", length}}, nan), "constant = nan"));
    CHECK(contains(sum_of({{"a", tq::bounded{length, {1, 0}}}}), "range of term a = 1"));
    CHECK(contains(sum_of({{"a", tq::bounded{length, {nan, 0}}}}), "range of term a = nan"));
    CHECK(product_of({"a", length, 0.5}) ==
          "reward_product: weight of term a = 0.5, must be 1, for a reward that does not state a "
          "range with lo >= 0");
    CHECK(contains(product_of({"a", length, 0}), "weight of term a = 0, must be in (0, inf)"));
    CHECK(contains(product_of({"a", length, nan}), "must be in (0, inf)"));

    const auto judged = [](reward_term term) {
        return message_of<tq::backend_error>([&] {
            (void)scores_of(weighted_sum{reward_term{"fine", first}, term});
        });
    };
    CHECK(judged({"size", tq::bounded{length, {.lo = 0, .hi = 1}}}) ==
          "weighted_sum: term size: value 2.000000 of answer 2 of 3, must be finite and in "
          "[0.000000, 1.000000]");
    CHECK(contains(judged({"broken", [=](tq::token_view, tq::token_view) { return nan; }, 0}),
                   "weighted_sum: term broken: value nan of answer 0 of 3"));
}
