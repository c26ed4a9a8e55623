// Direct transfer against the truth: sampled rollouts in worlds that can be enumerated.

#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/worlds.hpp"
#include "transfer/asking.hpp"

using namespace tq::tabular;
using tq::test::ask;
using tq::test::question;
using tq::test::small_world;

namespace {

/// A world of 3 tokens (1 ends the answer) and 3 steps, and rewards spread over (0, 1).
small_world make_world() {
    small_world w{.tree = tree{3, 3, 1}, .sft = {}, .rewards = {}, .baseline = {}};
    w.sft = random_policy(w.tree, tq::random_key{1}, 0.7);
    w.rewards = random_rewards(w.tree, tq::random_key{2});
    w.baseline = aligned(w.tree, w.sft, w.rewards, 0.5);
    return w;
}

const tq::token_list candidates{0, 2};

/// Asks for Q of tokens 0 and 2 at the root with `rollouts` sampled rollouts to the end.
template <class Use>
void estimate(const small_world& w, std::size_t rollouts, std::size_t repeats, Use use) {
    tq::direct_transfer value{tree_policy{w.tree, w.baseline},
                              tree_reward{w.tree, w.rewards},
                              {.horizon = 9, .rollouts = rollouts, .sampling = {}}};
    for (std::size_t i = 0; i < repeats; ++i)
        use(ask(value,
                question{.sequence = {0},
                         .prompt_size = 1,
                         .tokens_left = 3,
                         .end_tokens = {1},
                         .key = tq::random_key{rollouts}.fold_in(i)},
                candidates));
}

/// The exact Q of a candidate at the root.
double truth(const small_world& w, std::size_t candidate) {
    const node_values q = expectation(w.tree, w.baseline, w.rewards);
    return q[w.tree.child(0, static_cast<std::size_t>(candidates[candidate]))];
}

}  // namespace

TEST_CASE("direct_transfer: the mean of many rollouts is the enumerated TQ*") {
    const small_world w = make_world();
    estimate(w, 4096, 1, [&](const auto& values) {
        for (std::size_t i = 0; i < 2; ++i) {
            CHECK(values[i].rollouts == 4096);
            CHECK(values[i].standard_error > 0);
            CHECK(values[i].standard_error < 0.01);
            CHECK(std::abs(values[i].q - truth(w, i)) < 4 * values[i].standard_error);
        }
    });
}

TEST_CASE("direct_transfer: TQ* of many random worlds, in every state") {
    double squares = 0;
    std::size_t count = 0;
    tq::test::for_worlds(60, [&](const small_world& w, std::uint64_t number) {
        tq::direct_transfer value{tree_policy{w.tree, w.baseline},
                                  tree_reward{w.tree, w.rewards},
                                  {.horizon = 9, .rollouts = 200, .sampling = {}}};
        const node_values q = expectation(w.tree, w.baseline, w.rewards);
        const tq::token_list ends = w.tree.end_token() == tree::no_end
                                        ? tq::token_list{}
                                        : tq::token_list{w.tree.end_token()};
        const auto values = ask(value,
                                question{.sequence = {0},
                                         .prompt_size = 1,
                                         .tokens_left = w.tree.depth(),
                                         .end_tokens = ends,
                                         .key = tq::random_key{number}},
                                {0, 1});
        for (std::size_t z = 0; z < 2; ++z) {
            const double error = values[z].q - q[w.tree.child(0, z)];
            if (values[z].rollouts == 0) {
                CHECK(error == 0);  // the answer is complete: exact
            } else if (values[z].standard_error > 0.005) {
                squares += std::pow(error / values[z].standard_error, 2);
                ++count;
            }
        }
    });
    // Squares of standard normal numbers: mean 1, variance 2 (a little more for skewed rewards).
    const auto n = static_cast<double>(count);
    CHECK(count > 40);
    CHECK(std::abs(squares / n - 1) < 4 * std::sqrt(2.5 / n));
}

TEST_CASE("direct_transfer: the error falls as one over the root of the number of rollouts") {
    const small_world w = make_world();
    const auto rms = [&](std::size_t rollouts, std::size_t repeats) {
        double squares = 0;
        estimate(w, rollouts, repeats, [&](const auto& values) {
            for (std::size_t i = 0; i < 2; ++i) squares += std::pow(values[i].q - truth(w, i), 2);
        });
        return std::sqrt(squares / static_cast<double>(2 * repeats));
    };
    // 64 times the rollouts: a ratio of 8. Each RMS of n numbers is known to 1/sqrt(2 n).
    const double ratio = rms(16, 300) / rms(1024, 40);
    const double tolerance = 4 * std::sqrt(1.0 / (2 * 600) + 1.0 / (2 * 80));
    CHECK(std::abs(ratio / 8 - 1) < tolerance);
}

TEST_CASE(
    "direct_transfer: intervals of 1.96 standard errors hold the truth at their stated rate") {
    const small_world w = make_world();
    std::size_t covered = 0, total = 0;
    estimate(w, 64, 600, [&](const auto& values) {
        for (std::size_t i = 0; i < 2; ++i, ++total)
            covered += std::abs(values[i].q - truth(w, i)) <= 1.96 * values[i].standard_error;
    });
    const double rate = static_cast<double>(covered) / static_cast<double>(total);
    // Student's t with 63 degrees of freedom: 0.9456 in place of 0.95.
    CHECK(std::abs(rate - 0.9456) < 4 * std::sqrt(0.05 * 0.95 / static_cast<double>(total)));
}

TEST_CASE("direct_transfer: rewards differ between rollouts, and repeat with the key") {
    const small_world w = make_world();
    std::vector<double> first, second;
    estimate(w, 8, 5, [&](const auto& values) { first.push_back(values[0].q); });
    estimate(w, 8, 5, [&](const auto& values) { second.push_back(values[0].q); });
    CHECK(first == second);
    CHECK(first[0] != first[1]);
}
