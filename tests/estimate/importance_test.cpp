#include <tq/estimate/importance.hpp>
#include <tq/estimate/weights.hpp>

#include <cmath>
#include <tq/core/random.hpp>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/statistics.hpp"

using tq::collapse_action;
using tq::importance_estimate;
using tq::weighting;
using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr weighting every_form[] = {
    weighting::self_normalised, weighting::plain,     weighting::tempered,  weighting::clipped,
    weighting::pareto_smoothed, weighting::reference, weighting::unweighted};
constexpr collapse_action every_action[] = {collapse_action::warn, collapse_action::widen,
                                            collapse_action::unweighted, collapse_action::refuse};

std::vector<double> uniforms(std::size_t n, std::uint64_t seed) {
    std::vector<double> x(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = tq::random_key{seed}.uniform(i);
    return x;
}

}  // namespace

TEST_CASE("importance_estimate: self-normalised value and delta-method error by hand") {
    // Weights 1, 3: shares 1/4, 3/4; q = 0.25 * 0.2 + 0.75 * 0.6 = 0.5;
    // error^2 = 2/1 * ((0.25 * 0.3)^2 + (0.75 * 0.1)^2) = 0.0225.
    const std::vector<double> rewards{0.2, 0.6}, logs{5 + std::log(1.0), 5 + std::log(3.0)};
    const auto e = importance_estimate(rewards, logs, {.guard = false});
    CHECK(close(e.q, 0.5, 1e-15));
    CHECK(close(e.standard_error, 0.15, 1e-15));
    CHECK(e.rollouts == 2);
    CHECK(close(e.weights->ess, 1.6, 1e-12));
    CHECK(e.weights->used == weighting::self_normalised);
    CHECK(e.weights->power == 1);
}

TEST_CASE("importance_estimate: equal weights give the plain mean and its error, in every form") {
    const std::vector<double> rewards = uniforms(30, 1), logs(30, 0.0);
    const tq::value_estimate plain = tq::mean_estimate(rewards);
    for (const weighting form : every_form) {
        const auto e = importance_estimate(rewards, logs, {.form = form});
        CHECK(close(e.q, plain.q, 1e-15));
        CHECK(close(e.standard_error, plain.standard_error, 1e-15));
        CHECK_FALSE(e.weights->collapsed);
    }
}

TEST_CASE("importance_estimate: one rollout cancels its weight and says so") {
    for (const weighting form : {weighting::self_normalised, weighting::tempered,
                                 weighting::clipped, weighting::pareto_smoothed}) {
        const auto e =
            importance_estimate(std::vector<double>{0.7}, std::vector<double>{40}, {.form = form});
        CHECK(e.q == 0.7);
        CHECK(e.standard_error == inf);
        CHECK(e.rollouts == 1);
        CHECK(e.weights->used == weighting::unweighted);
        CHECK(e.weights->power == 0);
    }
}

TEST_CASE("importance_estimate: plain is the mean of w r, with its error") {
    const std::vector<double> rewards = uniforms(50, 2);
    std::vector<double> logs = uniforms(50, 3), products;
    for (std::size_t i = 0; i < 50; ++i) products.push_back(std::exp(logs[i]) * rewards[i]);
    const tq::value_estimate direct = tq::mean_estimate(products);
    const auto e = importance_estimate(rewards, logs, {.form = weighting::plain});
    CHECK(close(e.q, direct.q, 1e-14));
    CHECK(close(e.standard_error, direct.standard_error, 1e-14));
    for (double& value : logs) value -= 800;
    CHECK(importance_estimate(rewards, logs, {.form = weighting::plain}).q == 0);  // underflow
    for (double& value : logs) value += 1600;
    CHECK(importance_estimate(rewards, logs, {.form = weighting::plain}).q == inf);
}

TEST_CASE("importance_estimate: reference is the authors' number to the last digit") {
    // Python: math.exp(0.5 * (r - r_bl)) * r
    const struct {
        double r, r_bl, expected;
    } recorded[] = {
        {0.5, 0.2, 0.5809171213641415},    {1.75, -2.25, 12.930848173128638},
        {-3.1, -1.4, -1.3249862890410526}, {2.3, 2.3, 2.3},
        {-0.8, 4.6, -0.05376441019179983}, {6.02, -5.7, 2111.3593469998777},
    };
    for (const auto& [r, r_bl, expected] : recorded) {
        const std::vector<double> rewards{r}, logs{tq::reference_log_weight(r, r_bl)};
        const auto e = importance_estimate(rewards, logs, {.form = weighting::reference});
        CHECK(e.q == expected);
        CHECK(e.weights->used == weighting::reference);
    }
    // The wrong way round: of two bad answers the one that the target likes better loses.
    const auto score = [](double r, double r_bl) {
        return importance_estimate(std::vector<double>{r},
                                   std::vector<double>{tq::reference_log_weight(r, r_bl)},
                                   {.form = weighting::reference})
            .q;
    };
    CHECK(score(-1.0, -4.0) < score(-1.5, -1.5));
    CHECK(score(1.5, -1.5) > score(1.0, 1.0));
}

TEST_CASE("importance_estimate: tempered lies between weighted and unweighted") {
    std::vector<double> rewards = uniforms(60, 4), logs = rewards;
    for (double& value : logs) value *= 12;  // weights grow with the reward
    const auto q = [&](const tq::weight_options& o) {
        return importance_estimate(rewards, logs, o).q;
    };
    const double full = q({.guard = false}), none = q({.form = weighting::unweighted});
    const double half = q({.form = weighting::tempered}), guarded = q({});
    CHECK(none < guarded);
    CHECK(guarded < half);
    CHECK(half < full);
    const auto e = importance_estimate(rewards, logs);
    CHECK(e.weights->used == weighting::tempered);
    CHECK(e.weights->power > 0);
    CHECK(e.weights->power < 1);
    CHECK(e.standard_error >= full - guarded);  // the bias that tempering leaves
    const auto few = importance_estimate(std::span{rewards}.first(5), std::span{logs}.first(5));
    CHECK(few.weights->used == weighting::unweighted);
    CHECK(few.standard_error > tq::mean_estimate(std::span{rewards}.first(5)).standard_error);
}

TEST_CASE("importance_estimate: what happens when weights have collapsed is as asked") {
    std::vector<double> rewards = uniforms(40, 5), logs(40, 0.0);
    rewards[7] = 3;
    logs[7] = 30;
    const tq::value_estimate mean = tq::mean_estimate(rewards);
    const auto at = [&](collapse_action action) {
        return importance_estimate(rewards, logs, {.guard = false, .on_collapse = action});
    };
    for (const collapse_action action : every_action) CHECK(at(action).weights->collapsed);
    CHECK(close(at(collapse_action::warn).q, 3, 1e-9));
    CHECK(at(collapse_action::warn).standard_error < 1e-9);  // why it has to be said
    CHECK(close(at(collapse_action::widen).q, 3, 1e-9));
    CHECK(at(collapse_action::widen).standard_error >= 3 - mean.q - 1e-9);
    CHECK(at(collapse_action::unweighted).q == mean.q);
    CHECK(at(collapse_action::unweighted).standard_error == mean.standard_error);
    CHECK(at(collapse_action::unweighted).weights->used == weighting::unweighted);
    CHECK(at(collapse_action::refuse).q == -inf);
    CHECK(at(collapse_action::refuse).weights->refused);
    CHECK_FALSE(at(collapse_action::warn).weights->refused);
    const auto replayed = importance_estimate(
        rewards, logs, {.form = weighting::reference, .on_collapse = collapse_action::refuse});
    CHECK_FALSE(replayed.weights->refused);
    CHECK(close(replayed.q / (3 * std::exp(30) / 40), 1, 1e-9));
}

TEST_CASE("importance_estimate: a rollout that the target forbids is not read") {
    const std::vector<double> rewards{0.2, -inf, 0.6}, logs{0, -inf, 0};
    for (const weighting form : every_form) {
        if (form == weighting::plain || form == weighting::reference) continue;
        const auto e = importance_estimate(rewards, logs, {.form = form});
        CHECK(close(e.q, 0.4, 1e-15));
        CHECK(close(e.standard_error, 0.2, 1e-15));
    }
    const auto plain = importance_estimate(rewards, logs, {.form = weighting::plain});
    CHECK(close(plain.q, 0.8 / 3, 1e-15));
}

TEST_CASE("importance_estimate: nothing, or nothing usable") {
    const std::vector<double> none;
    for (const weighting form : every_form) {
        const auto e = importance_estimate(none, none, {.form = form});
        CHECK(e.q == -inf);
        CHECK(e.weights->refused);
        const auto nan = importance_estimate(std::vector<double>{1, 2},
                                             std::vector<double>{0, std::nan("")}, {.form = form});
        CHECK(nan.q == -inf);
        CHECK(nan.weights->refused);
    }
    const std::vector<double> rewards{0.1, 0.5}, zero{-inf, -inf};
    const auto disjoint = importance_estimate(rewards, zero);
    CHECK(close(disjoint.q, 0.3, 1e-15));
    CHECK(disjoint.weights->collapsed);
    CHECK(disjoint.weights->used == weighting::unweighted);
    CHECK(importance_estimate(rewards, zero, {.on_collapse = collapse_action::refuse})
              .weights->refused);
    CHECK(close(importance_estimate(rewards, zero, {.form = weighting::plain}).q, 0.3, 1e-15));
}

TEST_CASE("importance_estimate: never NaN, whatever comes in") {
    const double values[] = {0, 1, -1, 1e-300, 1e308, -1e308, 745, -745, inf, -inf, std::nan("")};
    for (std::uint64_t trial = 0; trial < 3000; ++trial) {
        const tq::random_key key = tq::random_key{6}.fold_in(trial);
        const std::size_t n = key.bits(0) % 40;
        std::vector<double> rewards(n), logs(n);
        for (std::size_t i = 0; i < n; ++i) {
            rewards[i] = values[key.fold_in(1).bits(i) % std::size(values)];
            logs[i] = values[key.fold_in(2).bits(i) % std::size(values)];
            if (trial % 2 == 0 && !std::isfinite(rewards[i])) rewards[i] = 0.5;
            if (trial % 2 == 0 && std::isnan(logs[i])) logs[i] = 0.5;
        }
        for (const weighting form : every_form)
            for (const collapse_action action : every_action)
                for (const bool guard : {false, true}) {
                    const auto e = importance_estimate(
                        rewards, logs, {.form = form, .guard = guard, .on_collapse = action});
                    if (std::isnan(e.q) || std::isnan(e.standard_error) ||
                        std::isnan(e.weights->ess) || std::isnan(e.weights->max_share) ||
                        std::isnan(e.weights->k_hat) || std::isnan(e.weights->power))
                        FAIL("trial " << trial << ", form " << static_cast<int>(form));
                }
    }
    SUCCEED();
}

TEST_CASE("importance_estimate: sizes that differ are refused in words") {
    CHECK(tq::test::message_of<tq::invalid_option>([] {
              static_cast<void>(
                  importance_estimate(std::vector<double>{1, 2}, std::vector<double>{1}));
          }) == "importance_estimate: log_weights.size() = 1, must be rewards.size() = 2");
}
