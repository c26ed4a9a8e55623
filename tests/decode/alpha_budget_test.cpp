#include <tq/decode/budget.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/tabular/enumerate.hpp>
#include <tq/tabular/models.hpp>

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using tq::alpha_for_budget;
using tq::test::close;

TEST_CASE("alpha_for_budget: the divergence of one state meets the budget") {
    std::size_t met = 0;
    tq::test::for_worlds(300, [&](const tq::test::small_world& w, std::uint64_t number) {
        const auto q_all = tq::tabular::expectation(w.tree, w.baseline, w.rewards);
        const std::size_t first = w.tree.child(0, 0), v = w.tree.vocab_size();
        const auto log_pi = std::span<const double>{w.sft}.subspan(first, v);
        const auto q = std::span<const double>{q_all}.subspan(first, v);
        for (const double budget : {1e-4, 0.05, 0.3, 1.0}) {
            const double alpha = alpha_for_budget(log_pi, q, budget);
            if (alpha == 0) {  // even the argmax costs less
                const auto best = std::ranges::max_element(q) - q.begin();
                if (-log_pi[static_cast<std::size_t>(best)] > budget + 1e-9)
                    FAIL("world " << number);
                continue;
            }
            if (std::isinf(alpha)) continue;  // all Q alike
            std::vector<double> log_p(v);
            tq::tilt(log_pi, q, alpha, log_p);
            if (!close(tq::kl_divergence(log_p, log_pi), budget, 1e-9 * (1 + budget)))
                FAIL("world " << number << ", budget " << budget);
            ++met;
        }
    });
    CHECK(met > 600);
}

TEST_CASE("alpha_for_budget: edges and refusals") {
    const std::vector<double> log_pi{std::log(0.5), std::log(0.5)}, flat{1, 1}, q{0, 1};
    CHECK(std::isinf(alpha_for_budget(log_pi, q, 0)));
    CHECK(std::isinf(alpha_for_budget(log_pi, flat, 0.1)));
    CHECK(alpha_for_budget(log_pi, q, 0.7) == 0);  // more than log 2
    CHECK(alpha_for_budget(log_pi, q, HUGE_VAL) == 0);
    CHECK(alpha_for_budget(log_pi, q, 0.6) > 0);
    CHECK(tq::test::message_of<tq::invalid_option>([&] {
              static_cast<void>(alpha_for_budget(log_pi, q, -1));
          }) == "alpha_for_budget: budget = -1, must be >= 0");
    CHECK(tq::test::message_of<tq::invalid_option>([&] {
              static_cast<void>(alpha_for_budget(log_pi, std::vector<double>{1}, 1));
          }) == "alpha_for_budget: q.size() = 1, must be log_pi.size(), and not 0");
}

namespace {

template <class Decoder>
std::vector<tq::step> answer(Decoder&& decode, std::size_t tokens, std::size_t index) {
    const tq::token_list prompt{0};
    std::vector<tq::step> steps;
    for (const tq::step& step : decode.generate(prompt, tokens, index)) steps.push_back(step);
    return steps;
}

/// -log of the prior's mass on the candidates: what the cut costs.
double cut(const tq::tilted_distribution& d) {
    return -tq::log_sum_exp(std::span<const double>{d.log_prior});
}

/// Nats that the argmax of Q costs.
double most(const tq::tilted_distribution& d) {
    std::vector<double> log_p(d.size());
    const auto [lo, hi] = std::ranges::minmax(d.q);
    tq::tilt(d.log_prior, d.q, hi > lo ? (hi - lo) / 1e12 : 1.0, log_p);
    return tq::kl_divergence(log_p, d.log_prior);
}

}  // namespace

TEST_CASE("kl_per_step: every step's divergence is the budget") {
    std::size_t met = 0, less = 0;
    tq::test::for_worlds(150, [&](const tq::test::small_world& w, std::uint64_t number) {
        tq::tabular::tree_policy policy{w.tree, w.sft}, baseline{w.tree, w.baseline};
        const tq::tabular::tree_value q{w.tree,
                                        tq::tabular::expectation(w.tree, w.baseline, w.rewards)};
        for (const double nats : {0.02, 0.3}) {
            const tq::decode_options options{.alpha_rule = tq::kl_per_step{nats},
                                             .top_k = tq::whole_vocabulary};
            for (const tq::step& step :
                 answer(tq::decoder{policy, q, options}, w.tree.depth(), number)) {
                const tq::tilted_distribution& d = step.distribution;
                const double cheapest = std::min(nats, most(d));
                if (!close(d.kl_prior, cheapest, 1e-9 + 2e-7 * (cheapest < nats)) ||
                    d.kl != d.kl_prior)
                    FAIL("world " << number << ": " << d.kl_prior << " of " << nats);
                ++(cheapest < nats ? less : met);
            }
            for (const tq::step& step :
                 answer(tq::decoder{policy, q, baseline, options}, w.tree.depth(), number))
                if (!(step.distribution.kl_prior <= nats + 1e-9)) FAIL("world " << number);
        }
    });
    CHECK(met > 300);
    CHECK(less > 100);
}

TEST_CASE("kl_per_answer: the answer never costs more than the budget") {
    double highest = 0;
    tq::test::for_worlds(150, [&](const tq::test::small_world& w, std::uint64_t number) {
        tq::tabular::tree_policy policy{w.tree, w.sft};
        const tq::tabular::tree_value q{w.tree,
                                        tq::tabular::expectation(w.tree, w.baseline, w.rewards)};
        constexpr double nats = 0.4;
        tq::decoder decode{
            policy, q, {.alpha_rule = tq::kl_per_answer{nats}, .top_k = tq::whole_vocabulary}};
        double spent = 0;
        const auto steps = answer(decode, w.tree.depth(), number);
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const double share = (nats - spent) / static_cast<double>(w.tree.depth() - i);
            const double cheapest = std::min(share, most(steps[i].distribution));
            if (!close(steps[i].kl, cheapest, 1e-9 + 2e-7 * (cheapest < share)))
                FAIL("world " << number << ", step " << i);
            spent += steps[i].kl;
        }
        if (!(spent <= nats + 1e-9)) FAIL("world " << number << ": " << spent);
        highest = std::max(highest, spent);
    });
    CHECK(highest > 0.4 - 1e-8);  // and some use all of it
}

TEST_CASE("kl_per_step: a cut to top_k is counted, and nothing is added where it is too dear") {
    std::size_t met = 0, infinite = 0;
    tq::test::for_worlds(100, [&](const tq::test::small_world& w, std::uint64_t number) {
        tq::tabular::tree_policy policy{w.tree, w.sft};
        const tq::tabular::tree_value q{w.tree,
                                        tq::tabular::expectation(w.tree, w.baseline, w.rewards)};
        tq::decoder decode{policy, q, {.alpha_rule = tq::kl_per_step{0.5}, .top_k = 2}};
        for (const tq::step& step : answer(decode, w.tree.depth(), number)) {
            const tq::tilted_distribution& d = step.distribution;
            const double expected = std::max(cut(d), std::min(0.5, most(d)));
            // Float logits leave some 1e-8 of mass too much: a negative cut is written as 0.
            if (!close(d.kl, expected, 5e-7))
                FAIL("world " << number << ": " << d.kl << ", not " << expected << ", cut "
                              << cut(d));
            if (cut(d) >= 0.5) {
                if (!std::isinf(d.alpha)) FAIL("world " << number);
                ++infinite;
            } else {
                ++met;
            }
        }
    });
    CHECK(met > 50);
    CHECK(infinite > 3);
}

TEST_CASE("alpha_for_budget: one alpha for recorded states, in nats per state") {
    const tq::test::small_world w = tq::test::random_world(2);
    tq::tabular::tree_policy policy{w.tree, w.sft};
    const tq::tabular::tree_value q{w.tree,
                                    tq::tabular::expectation(w.tree, w.baseline, w.rewards)};
    tq::decoder decode{policy, q, {.top_k = tq::whole_vocabulary}};
    std::vector<tq::tilted_distribution> states;
    for (std::size_t index = 0; index < 20; ++index)
        for (const tq::step& step : answer(decode, w.tree.depth(), index))
            states.push_back(step.distribution);
    const double alpha = alpha_for_budget(states, 0.1);
    double sum = 0;
    for (const tq::tilted_distribution& d : states) {
        std::vector<double> log_p(d.size());
        tq::tilt(d.log_prior, d.q, alpha, log_p);
        sum += tq::kl_divergence(log_p, d.log_prior);
    }
    CHECK(close(sum / static_cast<double>(states.size()), 0.1, 1e-9));
    CHECK(std::isinf(alpha_for_budget(states, 0)));
    CHECK(alpha_for_budget(states, 100) > 0);
    CHECK(alpha_for_budget(states, 100) < 1e-10);

    states[3].q[0] = std::nan("");  // a race left it open
    CHECK(tq::test::message_of<tq::invalid_option>([&] {
              static_cast<void>(alpha_for_budget(states, 0.1));
          }) == "alpha_for_budget: q = nan, must be known and not +inf");
    CHECK_THROWS_AS(alpha_for_budget(std::vector<tq::tilted_distribution>{}, 0.1),
                    tq::invalid_option);
    tq::decode_state state{};
    state.tokens_left = 1;
    CHECK_THROWS_AS(tq::kl_per_answer{-1}(states[1], state), tq::invalid_option);
    CHECK_THROWS_AS(tq::kl_per_step{-1}(states[1], state), tq::invalid_option);
}

TEST_CASE("alpha_for_budget: forbidden candidates take no part") {
    const std::vector<double> log_pi{std::log(0.2), std::log(0.4), std::log(0.4)};
    const std::vector<double> q{-HUGE_VAL, 0, 1};
    const double alpha = alpha_for_budget(log_pi, q, 0.5);
    std::vector<double> log_p(3);
    tq::tilt(log_pi, q, alpha, log_p);
    CHECK(close(tq::kl_divergence(log_p, log_pi), 0.5, 1e-9));
    CHECK(std::isinf(alpha_for_budget(log_pi, q, 0.1)));  // forbidding costs -log 0.8 = 0.22
}
