// The public bounds on a thousand random worlds, and on the world of known values.

#include <tq/estimate/bounds.hpp>
#include <tq/tabular/gap.hpp>
#include <tq/tabular/importance.hpp>

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::for_worlds;
using tq::test::small_world;

namespace {

constexpr std::uint64_t many = 1000;

log_policy decode(const small_world& w, const log_policy& prior) {
    return tilted(w.tree, prior, expectation(w.tree, w.baseline, w.rewards), w.alpha);
}

double width(const small_world& w) {
    const auto [lo, hi] = std::ranges::minmax(w.rewards);
    return hi - lo;
}

}  // namespace

TEST_CASE("gap: the identity is the gap, and the published bound holds, sharper forms included") {
    std::size_t negative_h = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const gap_terms t = gap_of(w.tree, w.sft, w.baseline, decode(w, w.sft), w.rewards);
        if (!close(t.gap, t.identity(w.alpha, w.beta), 1e-11)) FAIL("world " << number);
        if (t.gap > t.sharp_bound(w.alpha, w.beta) + 1e-12) FAIL("world " << number);
        if (t.sharp_bound(w.alpha, w.beta) > t.bound(w.alpha, w.beta) + 1e-12)
            FAIL("world " << number);
        negative_h += t.h() < -1e-6;
    });
    CHECK(negative_h > many / 10);
}

TEST_CASE(
    "gap: indirect transfer from any baseline has the identity of the optimum it stands for") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const log_policy any = random_policy(w.tree, tq::random_key{81}.fold_in(number), 1.0);
        const node_values weights = implicit_weights(w.tree, w.sft, any, w.rewards, w.beta);
        const node_values q = importance_value(w.tree, any, weights, w.rewards);
        const log_policy decoded = tilted(w.tree, w.sft, q, w.alpha);
        const gap_terms t = gap_of(w.tree, w.sft, w.baseline, decoded, w.rewards);
        if (!close(t.gap, t.identity(w.alpha, w.beta), 1e-10)) FAIL("world " << number);
        if (t.gap > t.bound(w.alpha, w.beta) + 1e-12) FAIL("world " << number);
    });
    SUCCEED();
}

TEST_CASE("gap: the bounds known beforehand hold, for both anchors, and are reached to a part") {
    double fullest = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const double kl = answer_kl(w.tree, decode(w, w.sft), w.sft);
        const double bound = tq::policy_anchor_kl_bound(w.alpha, w.tree.depth(), width(w));
        const double base = answer_kl(w.tree, w.baseline, w.sft);
        const double anchored = answer_kl(w.tree, decode(w, w.baseline), w.sft);
        if (kl > bound + 1e-12 || base > tq::aligned_kl_bound(w.beta, width(w)) + 1e-12 ||
            anchored >
                tq::baseline_anchor_kl_bound(w.alpha, w.beta, w.tree.depth(), width(w)) + 1e-12)
            FAIL("world " << number);
        if (bound > 0) fullest = std::max(fullest, kl / bound);
    });
    CHECK(fullest > 0.5);
}

TEST_CASE("gap: only the range of the reward counts") {
    for_worlds(200, [](const small_world& w, std::uint64_t number) {
        small_world moved = w;
        for (double& r : moved.rewards) r += 100;
        moved.baseline = aligned(moved.tree, moved.sft, moved.rewards, moved.beta);
        const double kl = answer_kl(moved.tree, decode(moved, moved.sft), moved.sft);
        if (kl > tq::policy_anchor_kl_bound(w.alpha, w.tree.depth(), width(w)) + 1e-9)
            FAIL("world " << number);
    });
    SUCCEED();
}

TEST_CASE("gap: a Q that is off by e everywhere costs no more than 2 T e of the value") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const tq::random_key key = tq::random_key{82}.fold_in(number);
        const double error = 0.3 * key.uniform(0);
        node_values wrong = expectation(w.tree, w.baseline, w.rewards);
        for (node_id node = 0; node < w.tree.size(); ++node)
            wrong[node] += error * (2 * key.uniform(node + 1) - 1);
        const double exact = gap_of(w.tree, w.sft, w.baseline, decode(w, w.sft), w.rewards).gap;
        const log_policy decoded = tilted(w.tree, w.sft, wrong, w.alpha);
        if (gap_of(w.tree, w.sft, w.baseline, decoded, w.rewards).gap >
            exact + 2 * static_cast<double>(w.tree.depth()) * error + 1e-12)
            FAIL("world " << number);
    });
    SUCCEED();
}

TEST_CASE(
    "gap: soft transfer has no regularised gap at alpha = beta, the hard expectation has one") {
    std::size_t positive = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const auto gap = [&](const node_values& q) {
            return regularised_gap(w.tree, w.sft, tilted(w.tree, w.sft, q, w.beta), w.rewards,
                                   w.beta);
        };
        const double soft = gap(soft_value(w.tree, w.sft, w.rewards, w.beta));
        const double hard = gap(expectation(w.tree, w.baseline, w.rewards));
        if (std::abs(soft) > 1e-11) FAIL("world " << number << ": " << soft);
        if (hard < -1e-11) FAIL("world " << number << ": " << hard);
        positive += hard > 1e-9;
    });
    CHECK(positive > many / 2);  // for one token, and for equal rewards, both are the optimum
}

TEST_CASE("gap: the world of known values, to 12 digits") {
    const tq::test::fixture f;
    const log_policy optimum = aligned(f.tree, f.sft, f.rewards, f.beta);
    const log_policy other = aligned(f.tree, f.sft, f.other_rewards, f.beta);
    const log_policy decoded = tilted(f.tree, f.sft, expectation(f.tree, optimum, f.rewards), 1.0);
    const gap_terms t = gap_of(f.tree, f.sft, optimum, decoded, f.rewards);
    constexpr double digits = 1.1e-12;
    CHECK(close(t.gap, .490064752412, digits));
    CHECK(close(t.identity(1, f.beta), .490064752412, digits));
    CHECK(close(t.best_policy, 1.714798428092, digits));
    CHECK(close(t.best_baseline, .722473921287, digits));
    CHECK(close(t.baseline_policy, .298404557568, digits));
    CHECK(close(t.decoder_policy, .093931387846, digits));
    CHECK(close(t.step_baseline, .311088432988, digits));
    CHECK(close(t.step_decoder, .074052267349, digits));

    node_values explicit_weights(f.tree.size());
    for (node_id node = 0; node < f.tree.size(); ++node)
        explicit_weights[node] = (f.rewards[node] - f.other_rewards[node]) / f.beta;
    for (const node_values& weights :
         {explicit_weights, implicit_weights(f.tree, f.sft, other, f.rewards, f.beta)}) {
        const node_values q = importance_value(f.tree, other, weights, f.rewards);
        CHECK(close(q[1], .760004127628, digits));
        CHECK(close(q[2], .463805164074, digits));
    }
    const node_values mean = log_mean_weight(f.tree, other, explicit_weights);
    CHECK(close(std::exp(mean[1]), .53299269036, digits));
    CHECK(close(std::exp(mean[2]), 1.423618357119, digits));
}
