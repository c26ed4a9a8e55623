// tq against the algorithm as the paper writes it, examples/ladder/00_algorithm.cpp: the same random
// numbers must give the same tokens.

#include <tq/decode/decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/rewards.hpp"
#include "support/worlds.hpp"

// A main() that is not the main() has to say what it returns.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
namespace paper {
#define main print_an_example
#include "../examples/ladder/00_algorithm.cpp"
#undef main
}  // namespace paper
#pragma GCC diagnostic pop

namespace {

// Scores nearer than this may be ranked either way: sums of doubles in another order.
constexpr double score_margin = 1e-9;
// A uniform number that is nearer than this to an end of a token's interval may fall on either side:
// row_sampler works with float exponentials, relative error 1e-6, at each of the two ends.
constexpr double draw_margin = 2e-6;

tq::token_list list_of(const paper::tokens& tokens) { return {tokens.begin(), tokens.end()}; }

/// One case of both: models, reward, options, and how many answers of how many tokens.
template <class Model, class Reward>
struct setting {
    Model policy, baseline;
    Reward reward;
    tq::decode_options options;
    tq::rollout_options look;
    tq::token_list prompt;
    std::size_t max_tokens;
    std::size_t answers;
    tq::token_id end = -1;
};

/// What came of it.
struct tally {
    std::size_t steps = 0;    // the same token
    std::size_t excused = 0;  // another token, within the margins
    std::size_t moved = 0;    // a token that the policy alone would not have taken
    tally& operator+=(const tally& other) {
        steps += other.steps;
        excused += other.excused;
        moved += other.moved;
        return *this;
    }
};

/// The logits of one sequence as doubles.
template <class Model>
paper::row logits_of(Model& model, const paper::tokens& sequence) {
    const tq::token_list tokens = list_of(sequence);
    const tq::token_view view = tokens;
    const tq::logits_view row = model.next_logits(std::span{&view, 1}).front();
    return {row.begin(), row.end()};
}

/// The token at u of softmax(row), and whether u is too near to an end of its interval to tell.
std::pair<std::size_t, bool> inverse_transform(const paper::row& row, double u) {
    double total = 0, running = 0;
    for (const double logit : row) total += std::exp(logit);
    std::size_t drawn = row.size();
    bool doubtful = false;
    for (std::size_t z = 0; z < row.size(); ++z) {
        running += std::exp(row[z]) / total;
        if (z + 1 < row.size()) doubtful = doubtful || std::abs(running - u) < draw_margin;
        if (running > u && drawn == row.size()) drawn = z;
    }
    return {std::min(drawn, row.size() - 1), doubtful};
}

/// The paper's page with tq's random numbers for the prompt of a number.
template <class Setting>
paper::transfer_q_star oracle_of(Setting& from, std::size_t number, bool& doubtful) {
    const std::size_t prompt_size = from.prompt.size();
    const tq::random_key answer_key = tq::random_key{from.options.seed}.fold_in(number);
    const auto key_of = [=](const paper::tokens& s) {
        return answer_key.fold_in(s.size() - prompt_size);
    };
    paper::transfer_q_star oracle;
    oracle.policy = [&](const paper::tokens& s) { return logits_of(from.policy, s); };
    oracle.baseline = [&](const paper::tokens& s) { return logits_of(from.baseline, s); };
    oracle.reward = [&, prompt_size](const paper::tokens& s) {
        const tq::token_list whole = list_of(s);
        const tq::token_view view = whole;
        return from.reward(view.first(prompt_size), view.subspan(prompt_size));
    };
    oracle.gumbel = [&, key_of](const paper::tokens& s, std::size_t z) {
        if (from.options.select == tq::selection::argmax) return 0.0;
        return tq::gumbel_field{key_of(s)}(static_cast<tq::token_id>(z));
    };
    oracle.draw = [&, key_of](const paper::row& row, const paper::tokens& s, std::size_t z,
                              std::size_t i, std::size_t place) {
        if (from.look.sampling.greedy()) return paper::argmax(row);
        const double u = key_of(s).fold_in(z).fold_in(i).uniform(place);
        const auto [drawn, near_an_end] = inverse_transform(row, u);
        doubtful = doubtful || near_an_end;
        return drawn;
    };
    oracle.alpha = from.options.alpha;
    oracle.top_k = from.options.top_k;
    oracle.rollouts = from.look.rollouts;
    oracle.horizon = from.look.horizon;
    oracle.end = from.end < 0 ? static_cast<std::size_t>(-1) : static_cast<std::size_t>(from.end);
    return oracle;
}

/// The largest difference of two scores.
double lead(const paper::row& scores, std::size_t over) {
    return *std::ranges::max_element(scores) - scores[over];
}

/// Q and the tilted distribution of a step are the page's.
void compare_distributions(const tq::tilted_distribution& d, const paper::transfer_q_star& oracle,
                           const paper::tokens& s, std::size_t tokens_left) {
    const paper::row logits = oracle.policy(s);
    double total = 0;
    paper::row scores;
    for (std::size_t i = 0; i < d.size(); ++i) {
        const auto z = static_cast<std::size_t>(d.tokens[i]);
        const double q = oracle.q(s, z, tokens_left);
        CHECK(std::abs(d.q[i] - q) <= score_margin);
        scores.push_back(logits[z] + q / oracle.alpha);
    }
    const double top = *std::ranges::max_element(scores);
    for (const double score : scores) total += std::exp(score - top);
    for (std::size_t i = 0; i < d.size(); ++i)
        CHECK(std::abs(d.log_p[i] - (scores[i] - top - std::log(total))) <= score_margin);
}

/// Decodes with both and compares token by token.
template <class Setting>
tally compare(Setting& from) {
    tally result;
    auto policy = from.policy;
    auto baseline = from.baseline;
    tq::direct_transfer value{baseline, from.reward, from.look};
    tq::decoder decode{policy, value, from.options};
    for (std::size_t number = 0; number < from.answers; ++number) {
        bool doubtful = false, excused = false;
        const paper::transfer_q_star oracle = oracle_of(from, number, doubtful);
        paper::tokens s{from.prompt.begin(), from.prompt.end()};
        std::size_t left = from.max_tokens;
        for (const tq::step& step : decode.generate(from.prompt, from.max_tokens, number)) {
            doubtful = false;
            const paper::row scores = oracle.scores(s, left);
            const std::size_t expected = paper::argmax(scores);
            const auto token = static_cast<std::size_t>(step.token);
            if (token != expected) {
                INFO("answer " << number << ", position " << s.size() << ": " << token << ", not "
                               << expected << ", which leads by " << lead(scores, token));
                CHECK((doubtful || lead(scores, token) <= score_margin));
                excused = true;
                break;
            }
            if (from.options.race == tq::race_mode::exhaustive && !doubtful)
                compare_distributions(step.distribution, oracle, s, left);
            paper::transfer_q_star frozen = oracle;
            frozen.alpha = INFINITY;
            result.moved += paper::argmax(frozen.scores(s, left)) != expected;
            ++result.steps;
            --left;
            if (!step.ends) s.push_back(token);
        }
        result.excused += excused;
        if (!excused)
            CHECK(list_of(oracle.generate({from.prompt.begin(), from.prompt.end()},
                                          from.max_tokens)) == list_of(s));
    }
    return result;
}

constexpr double inf = std::numeric_limits<double>::infinity();
const tq::rollout_options greedy{.horizon = 3};
const tq::rollout_options one_sampled{.horizon = 4, .rollouts = 1, .sampling = {.temperature = 1}};
const tq::rollout_options sampled{.horizon = 2, .rollouts = 5, .sampling = {.temperature = 1}};
const tq::rollout_options to_the_end{.horizon = 99, .rollouts = 3, .sampling = {.temperature = 1}};
const tq::rollout_options none{.horizon = 0};

/// Calls f(options, look) for a grid of both.
template <class F>
void for_options(const std::vector<std::size_t>& top_ks, std::uint64_t seed, F f) {
    for (const tq::rollout_options& look : {greedy, one_sampled, sampled, to_the_end, none})
        for (const tq::selection select : {tq::selection::argmax, tq::selection::sample})
            for (const tq::race_mode race : {tq::race_mode::exhaustive, tq::race_mode::exact})
                for (const double alpha : {0.03, 0.3, 2.0, inf})
                    for (const std::size_t top_k : top_ks)
                        f(tq::decode_options{.alpha = alpha,
                                             .top_k = top_k,
                                             .select = select,
                                             .race = race,
                                             .seed = ++seed},
                          look);
}

/// A tree's reward as a function: answers that are cut count as finished.
struct leaf_reward {
    const tq::test::small_world* world;
    double operator()(tq::token_view, tq::token_view answer) const {
        const bool may_end = world->tree.end_token() != tq::tabular::tree::no_end;
        return world
            ->rewards[world->tree.find(answer, may_end && answer.size() < world->tree.depth())];
    }
    [[nodiscard]] static tq::reward_range range() { return {0, 1}; }
};

/// Says nothing about its range.
struct rangeless_reward {
    double operator()(tq::token_view prompt, tq::token_view answer) const {
        return 3 * tq::test::even_reward{}(prompt, answer) - 1;
    }
};

/// At most one answer in 200 may need the margins.
void few_excuses(const tally& total, std::size_t answers) { CHECK(total.excused * 200 <= answers); }

}  // namespace

TEST_CASE("algorithm: random trees, exactly aligned baselines") {
    tally total;
    std::size_t answers = 0;
    tq::test::for_worlds(12, [&](const tq::test::small_world& world, std::uint64_t number) {
        using tq::tabular::tree_policy;
        for_options({1, 2, 99}, 1000 * number, [&](tq::decode_options options, auto look) {
            setting<tree_policy, leaf_reward> from{
                .policy = tree_policy{world.tree, world.sft},
                .baseline = tree_policy{world.tree, world.baseline},
                .reward = {&world},
                .options = std::move(options),
                .look = look,
                .prompt = {0},
                .max_tokens = world.tree.depth(),
                .answers = 2,
                .end = world.tree.end_token() == tq::tabular::tree::no_end
                           ? -1
                           : world.tree.end_token()};
            // A cut rollout is judged as if it had ended, which a tree without an end token has not.
            if (from.end < 0) from.look.horizon = 99;
            total += compare(from);
            answers += from.answers;
        });
    });
    few_excuses(total, answers);
    CHECK(total.steps > 4000);
    CHECK(total.moved > 400);
}

TEST_CASE("algorithm: bigram models, with and without end token") {
    tally total;
    std::size_t answers = 0;
    for (const std::size_t vocab_size : {5U, 150U})
        for (const tq::token_id end : {-1, 3}) {
            const tq::token_list ends = end < 0 ? tq::token_list{} : tq::token_list{end};
            const auto policy = tq::test::random_bigram(vocab_size, 1, ends);
            const auto baseline = tq::test::random_bigram(vocab_size, 2, ends, 4.0);
            for_options({4}, vocab_size, [&](const tq::decode_options& options, auto look) {
                const auto with = [&](auto reward) {
                    setting<tq::tabular::bigram_model, decltype(reward)> from{
                        policy, baseline, reward, options, look, {1, 0}, 8, 2, end};
                    total += compare(from);
                    answers += from.answers;
                };
                with(tq::test::even_reward{});
                with(rangeless_reward{});
            });
        }
    few_excuses(total, answers);
    CHECK(total.steps > 4000);
    CHECK(total.moved > 400);
}

TEST_CASE("algorithm: tokens that the models forbid") {
    constexpr float no = -std::numeric_limits<float>::infinity();
    const std::vector<std::vector<float>> rows{
        {no, 1, no, 0.5F}, {0, no, 0.3F, no}, {no, no, 2, 1}, {1, 0, no, no}};
    tally total;
    for_options({2, 4}, 7, [&](const tq::decode_options& options, auto look) {
        setting<tq::tabular::bigram_model, tq::test::even_reward> from{
            tq::tabular::bigram_model{rows},
            tq::tabular::bigram_model{rows},
            {},
            options,
            look,
            {0},
            6,
            2};
        total += compare(from);
    });
    few_excuses(total, 2);
    CHECK(total.steps == std::size_t{2} * 2 * 6 * 5 * 2 * 2 * 4);
    CHECK(total.moved > 0);
}
