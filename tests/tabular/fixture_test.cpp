// The two-token, two-step world with values known to 12 digits, found by an independent
// enumeration.

#include <tq/tabular/enumerate.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::fixture;

namespace {

constexpr double twelve_digits = 1.1e-12;

/// Probabilities of the answers 00, 01, 10, 11.
std::vector<double> answers_of(const tree& world, const log_policy& pi) {
    const node_values reach = log_reach(world, pi);
    return {std::exp(reach[3]), std::exp(reach[4]), std::exp(reach[5]), std::exp(reach[6])};
}

void check_close(const std::vector<double>& actual, const std::vector<double>& expected) {
    REQUIRE(actual.size() == expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
        INFO("entry " << i << ": " << actual[i] << " against " << expected[i]);
        CHECK(close(actual[i], expected[i], twelve_digits));
    }
}

std::vector<double> root_of(const node_values& values) { return {values[1], values[2]}; }

}  // namespace

TEST_CASE("fixture: the laws of the policy, of the optimum and of the other reward's optimum") {
    const fixture f;
    check_close(answers_of(f.tree, f.sft), {.42, .18, .08, .32});
    check_close(answers_of(f.tree, aligned(f.tree, f.sft, f.rewards, f.beta)),
                {.153327969408, .485549557497, .043569228877, .317553244219});
    check_close(answers_of(f.tree, aligned(f.tree, f.sft, f.other_rewards, f.beta)),
                {.780092641969, .045246025136, .05466286575, .119998467144});
}

TEST_CASE("fixture: the choices of Q at the root") {
    const fixture f;
    const log_policy optimum = aligned(f.tree, f.sft, f.rewards, f.beta);
    const log_policy other = aligned(f.tree, f.sft, f.other_rewards, f.beta);
    check_close(root_of(expectation(f.tree, optimum, f.rewards)), {.760004127628, .463805164074});
    check_close(root_of(expectation(f.tree, f.sft, f.rewards)), {.3, .44});
    check_close(root_of(maximum(f.tree, f.rewards)), {1, .5});
    check_close(root_of(expectation(f.tree, other, f.rewards)), {.054821162439, .406110531431});
    check_close(root_of(soft_value(f.tree, f.sft, f.rewards, f.beta)),
                {.53522930515, .452714053768});
}

TEST_CASE("fixture: unnormalised importance weights prefer the wrong token") {
    const fixture f;
    const log_policy other = aligned(f.tree, f.sft, f.other_rewards, f.beta);
    node_values weights(f.tree.size()), weighted(f.tree.size());
    for (node_id leaf = 3; leaf < 7; ++leaf) {
        weights[leaf] = std::exp((f.rewards[leaf] - f.other_rewards[leaf]) / f.beta);
        weighted[leaf] = weights[leaf] * f.rewards[leaf];
    }
    const auto numerator = root_of(expectation(f.tree, other, weighted));
    const auto denominator = root_of(expectation(f.tree, other, weights));
    check_close(numerator, {.405076644669, .660281545702});
    check_close(denominator, {.53299269036, 1.423618357119});
    check_close({numerator[0] / denominator[0], numerator[1] / denominator[1]},
                {.760004127628, .463805164074});
}

TEST_CASE("fixture: decoding at three alphas: probability, value and divergence") {
    const fixture f;
    const node_values q = expectation(f.tree, aligned(f.tree, f.sft, f.rewards, f.beta), f.rewards);
    struct expected {
        double alpha, first, value, kl;
    };
    for (const auto& [alpha, first, value, kl] :
         {expected{.1, .966671786838, .9831105830470, 1.546727295758},
          expected{1, .668556614962, .5099352475884, .093931387846},
          expected{10, .607087264568, .3685664508589, .000786805152}}) {
        const log_policy decoded = tilted(f.tree, f.sft, q, alpha);
        INFO("alpha " << alpha);
        CHECK(close(std::exp(decoded[1]), first, twelve_digits));
        CHECK(close(tq::test::value_of(f.tree, decoded, f.rewards), value, twelve_digits));
        CHECK(close(answer_kl(f.tree, decoded, f.sft), kl, twelve_digits));
    }
}

TEST_CASE("fixture: every term of the gap identity at alpha 1") {
    const fixture f;
    const log_policy baseline = aligned(f.tree, f.sft, f.rewards, f.beta);
    const log_policy decoded = tilted(f.tree, f.sft, expectation(f.tree, baseline, f.rewards), 1.0);
    const log_policy best = greedy(f.tree, maximum(f.tree, f.rewards));
    check_close(
        {1 - tq::test::value_of(f.tree, decoded, f.rewards), answer_kl(f.tree, best, f.sft),
         answer_kl(f.tree, best, baseline), answer_kl(f.tree, baseline, f.sft),
         path_kl(f.tree, decoded, decoded, f.sft), path_kl(f.tree, decoded, baseline, f.sft),
         path_kl(f.tree, decoded, baseline, decoded)},
        {.490064752412, 1.714798428092, .722473921287, .298404557568, .093931387846, .311088432988,
         .074052267349});
}
