// Gaps and divergences of whole answers (arXiv 2405.20495), in the readings that hold.

#include <tq/tabular/enumerate.hpp>

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::for_worlds;
using tq::test::small_world;
using tq::test::value_of;

namespace {

constexpr std::uint64_t many = 1000;

/// The terms of the gap between the best policy and the decoder.
struct gap_terms {
    double gap, best_sft, best_base, base_sft;  // the gap, and three KLs over answers
    double a, b, c;  // along the decoder's path: KL(alg||sft), KL(base||sft), KL(base||alg)
};

gap_terms terms_of(const small_world& w, const log_policy& baseline, const log_policy& decoded) {
    const log_policy best = greedy(w.tree, maximum(w.tree, w.rewards));
    return {.gap = value_of(w.tree, best, w.rewards) - value_of(w.tree, decoded, w.rewards),
            .best_sft = answer_kl(w.tree, best, w.sft),
            .best_base = answer_kl(w.tree, best, baseline),
            .base_sft = answer_kl(w.tree, baseline, w.sft),
            .a = path_kl(w.tree, decoded, decoded, w.sft),
            .b = path_kl(w.tree, decoded, baseline, w.sft),
            .c = path_kl(w.tree, decoded, baseline, decoded)};
}

log_policy decode(const small_world& w, const log_policy& prior) {
    return tilted(w.tree, prior, expectation(w.tree, w.baseline, w.rewards), w.alpha);
}

}  // namespace

TEST_CASE("bounds: the sub-optimality gap is exactly the sum of its six divergences") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const gap_terms t = terms_of(w, w.baseline, decode(w, w.sft));
        const double sum =
            w.beta * (t.best_sft - t.best_base - t.base_sft) + w.alpha * (t.b - t.a - t.c);
        if (!close(t.gap, sum, 1e-11)) FAIL("world " << number << ": " << t.gap - sum);
    });
    SUCCEED();
}

TEST_CASE("bounds: a baseline of another reward adds its mismatch to the identity") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const node_values other = random_rewards(w.tree, tq::random_key{77}.fold_in(number));
        const log_policy baseline = aligned(w.tree, w.sft, other, w.beta);
        const log_policy decoded =
            tilted(w.tree, w.sft, expectation(w.tree, baseline, w.rewards), w.alpha);
        const gap_terms t = terms_of(w, baseline, decoded);
        node_values difference = w.rewards;
        for (node_id node = 0; node < w.tree.size(); ++node) difference[node] -= other[node];
        const log_policy best = greedy(w.tree, maximum(w.tree, w.rewards));
        const double sum = w.beta * (t.best_sft - t.best_base - t.base_sft) +
                           w.alpha * (t.b - t.a - t.c) + value_of(w.tree, best, difference) -
                           value_of(w.tree, baseline, difference);
        if (!close(t.gap, sum, 1e-11)) FAIL("world " << number << ": " << t.gap - sum);
    });
    SUCCEED();
}

TEST_CASE("bounds: gap <= beta KL(best || policy) - alpha h holds with h = A - B, not with h = A") {
    std::size_t violations_of_plain_kl = 0, violations_without_h = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const gap_terms t = terms_of(w, w.baseline, decode(w, w.sft));
        if (t.gap > w.beta * t.best_sft - w.alpha * (t.a - t.b) + 1e-12) FAIL("world " << number);
        if (t.gap > w.beta * (t.best_sft - t.base_sft) - w.alpha * (t.a - t.b) + 1e-12)
            FAIL("world " << number << ", the sharper form");
        violations_of_plain_kl += t.gap > w.beta * t.best_sft - w.alpha * t.a + 1e-9;
        violations_without_h += t.gap > w.beta * t.best_sft + 1e-9;
    });
    CHECK(violations_of_plain_kl > many / 20);  // the test can tell the readings apart
    CHECK(violations_without_h > many / 50);
}

TEST_CASE(
    "bounds: KL(decoder || policy) <= T r/alpha, T r^2/(8 alpha^2) and (1/beta + T/alpha) r") {
    std::size_t violations_without_depth = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const double kl = answer_kl(w.tree, decode(w, w.sft), w.sft);
        const double top = *std::max_element(w.rewards.begin(), w.rewards.end());
        if (kl > w.depth() * top / w.alpha + 1e-12 ||
            kl > w.depth() * top * top / (8 * w.alpha * w.alpha) + 1e-12 ||
            kl > (1 / w.beta + w.depth() / w.alpha) * top + 1e-12)
            FAIL("world " << number << ": " << kl);
        violations_without_depth += kl > top * top / (8 * w.alpha * w.alpha) + 1e-12;
    });
    CHECK(violations_without_depth > 0);  // T matters
}

TEST_CASE("bounds: KL(baseline || policy) <= r/beta and r^2/(8 beta^2)") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const double kl = answer_kl(w.tree, w.baseline, w.sft);
        if (kl > std::min(1 / w.beta, 1 / (8 * w.beta * w.beta)) + 1e-12) FAIL("world " << number);
    });
    SUCCEED();
}

TEST_CASE("bounds: tilting the baseline keeps (1/beta + T/alpha) r, but not T r/alpha alone") {
    std::size_t violations_of_alpha_alone = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const double kl = answer_kl(w.tree, decode(w, w.baseline), w.sft);
        if (kl > 1 / w.beta + w.depth() / w.alpha + 1e-12) FAIL("world " << number);
        violations_of_alpha_alone += kl > w.depth() / w.alpha + 1e-9;
    });
    CHECK(violations_of_alpha_alone > 0);
}

TEST_CASE("bounds: the regularised objective falls short by exactly beta KL(decoder || optimum)") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const auto objective = [&](const log_policy& pi) {
            return value_of(w.tree, pi, w.rewards) - w.beta * answer_kl(w.tree, pi, w.sft);
        };
        const log_policy decoded = decode(w, w.sft);
        const double shortfall = objective(w.baseline) - objective(decoded);
        if (!close(shortfall, w.beta * answer_kl(w.tree, decoded, w.baseline), 1e-11))
            FAIL("world " << number);
    });
    SUCCEED();
}

TEST_CASE("bounds: an error of Q of at most eps costs at most 2 eps T of value") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const tq::random_key key = tq::random_key{78}.fold_in(number);
        const double eps = 0.3 * key.uniform(0);
        node_values wrong = expectation(w.tree, w.baseline, w.rewards);
        for (node_id node = 0; node < w.tree.size(); ++node)
            wrong[node] += eps * (2 * key.uniform(node + 1) - 1);
        const double lost = value_of(w.tree, decode(w, w.sft), w.rewards) -
                            value_of(w.tree, tilted(w.tree, w.sft, wrong, w.alpha), w.rewards);
        if (lost > 2 * eps * w.depth() + 1e-12) FAIL("world " << number << ": " << lost);
    });
    SUCCEED();
}

TEST_CASE("bounds: tilting the baseline never loses to it; tilting the policy can") {
    std::size_t losses_of_the_policy = 0;
    for_worlds(many, [&](const small_world& w, std::uint64_t number) {
        const double base = value_of(w.tree, w.baseline, w.rewards);
        if (value_of(w.tree, decode(w, w.baseline), w.rewards) < base - 1e-12)
            FAIL("world " << number);
        const double policy = value_of(w.tree, decode(w, w.sft), w.rewards);
        losses_of_the_policy += policy < base - 1e-9;
        if (policy < value_of(w.tree, w.sft, w.rewards) - 1e-12)
            FAIL("world " << number << ": below the policy itself");
    });
    CHECK(losses_of_the_policy > many / 10);
}

TEST_CASE("bounds: self-normalised weights give TQ* of the optimum from any baseline") {
    for_worlds(many, [](const small_world& w, std::uint64_t number) {
        const tq::random_key key = tq::random_key{79}.fold_in(number);
        const node_values other = random_rewards(w.tree, key);
        const log_policy exact = aligned(w.tree, w.sft, other, w.beta);
        const log_policy arbitrary = random_policy(w.tree, key, 1.0);
        const node_values frozen = log_reach(w.tree, w.sft);
        const node_values truth = expectation(w.tree, w.baseline, w.rewards);

        const auto check = [&](const log_policy& baseline, bool implicit) {
            const node_values base = log_reach(w.tree, baseline);
            node_values weights(w.tree.size()), weighted(w.tree.size());
            for (node_id leaf = 0; leaf < w.tree.size(); ++leaf) {
                const double log_weight = implicit
                                              ? w.rewards[leaf] / w.beta + frozen[leaf] - base[leaf]
                                              : (w.rewards[leaf] - other[leaf]) / w.beta;
                weights[leaf] = std::exp(log_weight);
                weighted[leaf] = weights[leaf] * w.rewards[leaf];
            }
            const node_values numerator = expectation(w.tree, baseline, weighted);
            const node_values denominator = expectation(w.tree, baseline, weights);
            for (node_id node = 0; node < w.tree.size(); ++node)
                if (!close(numerator[node] / denominator[node], truth[node], 1e-12))
                    FAIL("world " << number << ", node " << node << ", implicit " << implicit);
        };
        check(exact, true);
        check(exact, false);
        check(arbitrary, true);
    });
    SUCCEED();
}
