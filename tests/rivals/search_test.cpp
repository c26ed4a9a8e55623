// Rivals that search: what they choose on enumerable worlds.

#include <tq/baselines/decoded_baseline.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/rivals/args.hpp>
#include <tq/rivals/best_of_n.hpp>
#include <tq/rivals/controlled_decoding.hpp>
#include <tq/rivals/segment_rejection.hpp>
#include <tq/rivals/speculative_rejection.hpp>
#include <tq/tabular/models.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <tq/tabular/enumerate.hpp>
#include <tuple>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"

using namespace tq::tabular;
using tq::token_list;

namespace {

struct world_of_four {
    tree world{3, 4, 2};  // token 2 ends an answer
    log_policy pi = random_policy(world, tq::random_key{1});
    node_values rewards = random_rewards(world, tq::random_key{2});
    tree_policy policy{world, pi};
    tree_reward reward{world, rewards};

    [[nodiscard]] double value(tq::token_view answer, bool finished) const {
        return rewards[world.find(answer, finished)];
    }
    /// P(the reward of one answer of the policy <= x), by enumeration, and its mean.
    [[nodiscard]] double below(double x) const {
        double sum = 0;
        each_answer([&](double p, double r) { sum += r <= x ? p : 0; });
        return sum;
    }
    void each_answer(const std::function<void(double, double)>& use) const {
        const std::vector<double> log_p = log_reach(world, pi);
        for (std::size_t node = 0; node < world.size(); ++node)
            if (world.is_leaf(node)) use(std::exp(log_p[node]), rewards[node]);
    }
};

template <class Decoder>
std::vector<tq::block_step> steps_of(Decoder& decoder, std::size_t prompts, std::size_t first,
                                     std::vector<token_list>& answers, std::vector<bool>& ends) {
    const std::vector<token_list> all(prompts, token_list{0});
    auto running = decoder.generate_all(all, 4, first);
    std::vector<tq::block_step> steps;
    for (auto part = running.advance(); !part.empty(); part = running.advance())
        steps.insert(steps.end(), part.begin(), part.end());
    answers.clear();
    ends.clear();
    for (std::size_t i = 0; i < prompts; ++i) {
        answers.emplace_back(running.answer(i).begin(), running.answer(i).end());
        ends.push_back(running.finished(i));
    }
    return steps;
}

}  // namespace

TEST_CASE("best_of_n: the reward's distribution is that of a maximum of n draws") {
    world_of_four w;
    for (const std::size_t n : {1U, 3U, 6U}) {
        tq::block_decoder decoder = tq::best_of_n(w.policy, w.reward, {.n = n, .seed = n});
        std::vector<token_list> answers;
        std::vector<bool> ends;
        const auto steps = steps_of(decoder, 4000, 0, answers, ends);
        for (const tq::block_step& step : steps)
            if (step.kl != tq::kl_of_best(n)) FAIL(step.kl);
        double expected = 0;  // E max = sum over values of x (F(x)^n - F(x-)^n)
        std::vector<double> values;
        w.each_answer([&](double, double r) { values.push_back(r); });
        std::ranges::sort(values);
        double before = 0;
        for (const double x : values) {
            const double now = std::pow(w.below(x), static_cast<double>(n));
            expected += x * (now - before);
            before = now;
        }
        double sum = 0, squares = 0;
        for (std::size_t i = 0; i < answers.size(); ++i) {
            const double r = w.value(answers[i], ends[i]);
            sum += r, squares += r * r;
        }
        const double mean = sum / 4000, error = std::sqrt((squares / 4000 - mean * mean) / 4000);
        CHECK(std::abs(mean - expected) < 4 * error);
    }
    CHECK_THROWS_AS(tq::best_of_n(w.policy, w.reward, {.n = 0}), tq::invalid_option);
}

TEST_CASE("args_value and controlled_decoding_value: Q of the prefix, Q of the policy") {
    world_of_four w;
    tq::direct_transfer args = tq::args_value(w.policy, w.reward);
    tq::direct_transfer cd = tq::controlled_decoding_value(
        w.policy, w.reward, {.horizon = 4, .rollouts = 2000, .sampling = {.temperature = 1}});
    const std::vector<double> exact = expectation(w.world, w.pi, w.rewards);
    const token_list prompt{0}, end{2};
    const tq::decode_state state{.sequence = prompt,
                                 .prompt_size = 1,
                                 .tokens_left = 4,
                                 .end_tokens = end,
                                 .key = tq::random_key{5}};
    const token_list candidates{0, 1, 2};
    std::vector<tq::value_estimate> q(3);
    const tq::value_query query{state, candidates, q};
    args.evaluate({&query, 1});
    for (std::size_t z = 0; z < 3; ++z) CHECK(q[z].q == w.rewards[w.world.child(0, z)]);
    cd.evaluate({&query, 1});
    for (std::size_t z = 0; z < 3; ++z)
        CHECK(std::abs(q[z].q - exact[w.world.child(0, z)]) <= 4 * q[z].standard_error + 1e-12);

    // One block of every length up to the end is best-of-n, whatever looks ahead.
    tq::block_decoder whole = tq::blockwise_controlled_decoding(
        w.policy, w.reward,
        {.block = tq::whole_answer, .candidates = 5, .select = tq::selection::argmax});
    tq::block_decoder best = tq::best_of_n(w.policy, w.reward, {.n = 5});
    std::vector<token_list> a, b;
    std::vector<bool> ends;
    std::ignore = steps_of(whole, 50, 0, a, ends);
    std::ignore = steps_of(best, 50, 0, b, ends);
    CHECK(a == b);
}

TEST_CASE("speculative_rejection: without rejection or with one look it is best-of-n") {
    world_of_four w;
    std::vector<token_list> a, b;
    std::vector<bool> ends_a, ends_b;
    for (const auto& [block, rejected] :
         {std::pair{std::size_t{1}, 0.0}, {tq::whole_answer, 0.5}}) {
        tq::speculative_rejection one{
            w.policy, w.reward, {.candidates = 6, .block = block, .rejected = rejected, .seed = 3}};
        const auto steps = steps_of(one, 200, 0, a, ends_a);
        REQUIRE(steps.size() == 200);
        for (std::size_t i = 0; i < steps.size(); ++i) {
            double best = 0;
            for (std::size_t j = 0; j < 6; ++j) best = std::max(best, steps[i].q[j]);
            CHECK(steps[i].q[steps[i].choice] == best);
            CHECK(w.value(a[i], ends_a[i]) == best);
        }
        if (block == 1) {
            b = a;
            ends_b = ends_a;
        }
    }
    CHECK((a == b && ends_a == ends_b));  // the same draws, whatever the blocks
}

TEST_CASE("speculative_rejection: the worst prefixes are given up, and cost less") {
    world_of_four w;
    tq::speculative_rejection half{w.policy, w.reward, {.candidates = 8, .block = 1}};
    tq::speculative_rejection none{
        w.policy, w.reward, {.candidates = 8, .block = 1, .rejected = 0}};
    std::vector<token_list> a, b;
    std::vector<bool> ends;
    const auto cheap = steps_of(half, 100, 0, a, ends);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(cheap[i].tokens == a[i]);
    const auto dear = steps_of(none, 100, 0, b, ends);
    std::size_t saved = 0;
    for (std::size_t i = 0; i < cheap.size(); ++i) {
        CHECK(cheap[i].spent.total() <= dear[i].spent.total());
        saved += dear[i].spent.total() - cheap[i].spent.total();
        // The first look sees one token of each: those whose reward so far is above the median stay.
        std::vector<double> first;
        for (const token_list& text : dear[i].blocks)
            first.push_back(text.empty() ? w.value({}, true)
                                         : w.value(tq::token_view{text}.first(1), false));
        const double chosen = first[cheap[i].choice];
        std::ranges::sort(first, std::greater{});
        CHECK(chosen >= first[3]);
    }
    CHECK(saved > 0);
    CHECK_THROWS_AS((tq::speculative_rejection{w.policy, w.reward, {.rejected = 1}}),
                    tq::invalid_option);
    CHECK_THROWS_AS((tq::speculative_rejection{w.policy, w.reward, {.candidates = 0}}),
                    tq::invalid_option);
}

TEST_CASE("segment_rejection: of one segment its law is the accepted one, by enumeration") {
    // With unlimited attempts: p(answer) is proportional to pi(answer) min(1, exp((r - target) / softness)).
    world_of_four w;
    const double target = 0.9, softness = 0.2;
    tq::segment_rejection decoder{w.policy,
                                  w.reward,
                                  {.block = tq::whole_answer,
                                   .attempts = 10'000,
                                   .target = target,
                                   .start = target,
                                   .softness = softness}};
    double z = 0, expected = 0;
    w.each_answer([&](double p, double r) {
        const double kept = p * std::min(1.0, std::exp((r - target) / softness));
        z += kept;
        expected += kept * r;
    });
    std::vector<token_list> answers;
    std::vector<bool> ends;
    const auto steps = steps_of(decoder, 5000, 0, answers, ends);
    double sum = 0, squares = 0, draws = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {
        const double r = w.value(answers[i], ends[i]);
        sum += r, squares += r * r;
        draws += static_cast<double>(steps[i].blocks.size());
    }
    const double mean = sum / 5000, error = std::sqrt((squares / 5000 - mean * mean) / 5000);
    CHECK(std::abs(mean - expected / z) < 4 * error);
    CHECK(draws / 5000 == Catch::Approx(1 / z).epsilon(0.1));
}

TEST_CASE("segment_rejection: accepts all if soft, takes the best if nothing is accepted") {
    world_of_four w;
    std::vector<token_list> answers;
    std::vector<bool> ends;
    tq::segment_rejection soft{w.policy, w.reward, {.block = 1, .softness = INFINITY}};
    for (const tq::block_step& step : steps_of(soft, 50, 0, answers, ends))
        CHECK(step.blocks.size() == 1);
    tq::segment_rejection hard{
        w.policy,
        w.reward,
        {.block = 2, .attempts = 5, .target = 1e6, .start = 1e6, .softness = 1e-3}};
    for (const tq::block_step& step : steps_of(hard, 50, 0, answers, ends)) {
        CHECK(step.blocks.size() == 5);
        CHECK(step.q[step.choice] == *std::ranges::max_element(step.q));
    }
    CHECK_THROWS_AS((tq::segment_rejection{w.policy, w.reward, {.attempts = 0}}),
                    tq::invalid_option);
    CHECK_THROWS_AS((tq::segment_rejection{w.policy, w.reward, {.softness = 0}}),
                    tq::invalid_option);
}

TEST_CASE("decoded_baseline: Q of ARGS, by enumerating what ARGS writes") {
    world_of_four w;
    const double alpha = 0.1;
    // What greedy ARGS writes from a node: the argmax of log pi + r(prefix and candidate) / alpha.
    const auto follow = [&](node_id node) {
        while (!w.world.is_leaf(node)) {
            node_id best = w.world.child(node, 0);
            for (std::size_t z = 1; z < 3; ++z) {
                const node_id child = w.world.child(node, z);
                const auto score = [&](node_id n) { return w.pi[n] + w.rewards[n] / alpha; };
                if (score(child) > score(best)) best = child;
            }
            node = best;
        }
        return w.rewards[node];
    };
    tq::direct_transfer prefix = tq::args_value(w.policy, w.reward);
    tq::decoded_baseline baseline{tq::decoder{
        w.policy, prefix, {.alpha = alpha, .top_k = 3, .select = tq::selection::argmax}}};
    static_assert(tq::completer<decltype(baseline)>);
    tq::direct_transfer q{baseline, w.reward, {.horizon = 4}};
    const token_list prompt{0}, end{2};
    for (const token_list& answer : {token_list{}, token_list{0}, token_list{1, 0}}) {
        token_list sequence = prompt;
        sequence.insert(sequence.end(), answer.begin(), answer.end());
        const tq::decode_state state{.sequence = sequence,
                                     .prompt_size = 1,
                                     .tokens_left = 4 - answer.size(),
                                     .end_tokens = end,
                                     .key = tq::random_key{5}};
        const token_list candidates{0, 1, 2};
        std::vector<tq::value_estimate> values(3);
        const tq::value_query query{state, candidates, values};
        q.evaluate({&query, 1});
        for (std::size_t z = 0; z < 3; ++z)
            CHECK(values[z].q == follow(w.world.child(w.world.find(answer), z)));
    }
}

TEST_CASE("decoded_baseline: of best-of-n, its mean reward is that of a maximum") {
    world_of_four w;
    tq::decoded_baseline baseline{tq::best_of_n(w.policy, w.reward, {.n = 3})};
    tq::direct_transfer q{
        baseline, w.reward, {.horizon = 4, .rollouts = 3000, .sampling = {.temperature = 1}}};
    // From the node of token 0: E max of three continuations, by enumeration.
    const node_id from = w.world.child(tree::root(), 0);
    const node_values reach = log_reach(w.world, w.pi);
    std::vector<std::pair<double, double>> leaves;  // reward, probability
    for (node_id node = 0; node < w.world.size(); ++node) {
        if (!w.world.is_leaf(node)) continue;
        node_id up = node;
        while (up != from && up != tree::root()) up = w.world.parent(up);
        if (up == from) leaves.emplace_back(w.rewards[node], std::exp(reach[node] - reach[from]));
    }
    std::ranges::sort(leaves);
    double below = 0, expected = 0;
    for (const auto& [reward, p] : leaves) {
        expected += reward * (std::pow(below + p, 3) - std::pow(below, 3));
        below += p;
    }
    const token_list prompt{0}, end{2}, candidate{0};
    const tq::decode_state state{.sequence = prompt,
                                 .prompt_size = 1,
                                 .tokens_left = 4,
                                 .end_tokens = end,
                                 .key = tq::random_key{5}};
    tq::value_estimate value;
    const tq::value_query query{state, candidate, {&value, 1}};
    q.evaluate({&query, 1});
    CHECK(std::abs(value.q - expected) < 4 * value.standard_error);
}
