#include <tq/estimate/soft.hpp>

#include <cmath>
#include <tq/core/random.hpp>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/statistics.hpp"

using tq::collapse_action;
using tq::soft_estimate;
using tq::weighting;
using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr weighting every_form[] = {weighting::self_normalised, weighting::plain,
                                    weighting::tempered,        weighting::clipped,
                                    weighting::pareto_smoothed, weighting::unweighted};

tq::soft_options raw(double beta, bool jackknife = false) {
    return {.beta = beta, .jackknife = jackknife, .weights = {.guard = false}};
}

/// log w, normal with a standard deviation: log E w is its square / 2.
std::vector<double> normal_logs(std::size_t n, double spread, std::uint64_t seed) {
    std::vector<double> logs(n);
    for (std::size_t i = 0; i < n; ++i) {
        const tq::random_key key{seed};
        logs[i] = spread * std::sqrt(-2 * std::log(key.uniform(2 * i))) *
                  std::cos(2 * 3.14159265358979323846 * key.uniform(2 * i + 1));
    }
    return logs;
}

double log_mean_exp(const std::vector<double>& logs) {
    double sum = 0;
    for (const double value : logs) sum += std::exp(value);
    return std::log(sum / static_cast<double>(logs.size()));
}

/// n theta - (n - 1) mean of theta over the samples without one, the long way.
double jackknife(const std::vector<double>& logs) {
    const auto n = static_cast<double>(logs.size());
    double mean = 0;
    for (std::size_t i = 0; i < logs.size(); ++i) {
        std::vector<double> rest = logs;
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
        mean += log_mean_exp(rest) / n;
    }
    return n * log_mean_exp(logs) - (n - 1) * mean;
}

}  // namespace

TEST_CASE("soft_estimate: beta log of the mean weight, and its delta-method error, by hand") {
    // Weights 1, 3: mean 2, standard deviation of the mean 1: log error 1/2.
    const std::vector<double> logs{std::log(1.0), std::log(3.0)};
    const auto e = soft_estimate(logs, raw(0.5));
    CHECK(close(e.q, 0.5 * std::log(2.0), 1e-15));
    CHECK(close(e.standard_error, 0.25, 1e-15));
    CHECK(e.rollouts == 2);
}

TEST_CASE("soft_estimate: equal weights are exact in every form, with and without correction") {
    for (const std::size_t n : {1U, 2U, 30U})
        for (const weighting form : every_form)
            for (const bool corrected : {false, true}) {
                const auto e =
                    soft_estimate(std::vector<double>(n, 1.7),
                                  {.beta = 0.3, .jackknife = corrected, .weights = {.form = form}});
                CHECK(close(e.q, 0.51, 1e-13));
                if (n > 1) CHECK(e.standard_error < 1e-14);
                if (n == 1) CHECK(e.standard_error == inf);
            }
}

TEST_CASE("soft_estimate: the jackknife is the one that leaves out rollouts one by one") {
    for (const std::size_t n : {2U, 3U, 10U, 40U}) {
        std::vector<double> logs = normal_logs(n, 1.0, n);
        CHECK(close(soft_estimate(logs, raw(1, true)).q, jackknife(logs), 1e-11));
        logs.push_back(-inf);
        CHECK(close(soft_estimate(logs, raw(1, true)).q, jackknife(logs), 1e-11));
    }
}

TEST_CASE("soft_estimate: the bias is as stated, and the jackknife takes most of it out") {
    constexpr double spread = 0.8, truth = spread * spread / 2;
    constexpr std::size_t n = 16, repeats = 20'000;
    double plain = 0, corrected = 0;
    for (std::size_t i = 0; i < repeats; ++i) {
        const std::vector<double> logs = normal_logs(n, spread, 100 + i);
        plain += (soft_estimate(logs, raw(1)).q - truth) / repeats;
        corrected += (soft_estimate(logs, raw(1, true)).q - truth) / repeats;
    }
    const double stated = -(std::exp(spread * spread) - 1) / (2 * n);
    INFO(plain << " stated " << stated << " corrected " << corrected);
    CHECK(close(plain, stated, 0.2 * std::abs(stated)));
    CHECK(std::abs(corrected) < 0.35 * std::abs(plain));
}

TEST_CASE("soft_estimate: the error is right") {
    constexpr std::size_t n = 400, repeats = 2000;
    double squares = 0, stated = 0, truth = 0.5 * 0.36;
    for (std::size_t i = 0; i < repeats; ++i) {
        const auto e = soft_estimate(normal_logs(n, 0.6, 5000 + i), raw(1));
        squares += (e.q - truth) * (e.q - truth) / repeats;
        stated += e.standard_error * e.standard_error / repeats;
    }
    CHECK(close(stated / squares, 1, 0.12));
}

TEST_CASE("soft_estimate: less power is less, down to the mean of the logarithms") {
    const std::vector<double> logs = normal_logs(50, 2.0, 9);
    const auto q = [&](const tq::weight_options& weights) {
        return soft_estimate(logs, {.beta = 1, .weights = weights}).q;
    };
    const double full = q({.guard = false}), half = q({.form = weighting::tempered}),
                 bound = q({.form = weighting::unweighted});
    double mean = 0;
    for (const double value : logs) mean += value / 50;
    CHECK(close(bound, mean, 1e-12));
    CHECK(bound < half);
    CHECK(half < full);
    CHECK(close(full, log_mean_exp(logs), 1e-12));
}

TEST_CASE("soft_estimate: a weight of 0 counts as a rollout") {
    const std::vector<double> logs{0, -inf, 0, -inf};
    for (const weighting form : every_form) {
        INFO(static_cast<int>(form));
        const auto e = soft_estimate(logs, {.beta = 2, .weights = {.form = form}});
        CHECK(close(e.q, 2 * std::log(0.5), 1e-12));
        CHECK(close(e.standard_error, 2 * std::sqrt(1.0 / 3), 1e-12));  // sd / mean / sqrt(n)
    }
}

TEST_CASE("soft_estimate: nothing, nothing usable, and collapsed weights") {
    CHECK(soft_estimate({}, raw(1)).q == -inf);
    CHECK(soft_estimate({}, raw(1)).weights->refused);
    CHECK(soft_estimate(std::vector<double>{0, std::nan("")}, raw(1)).weights->refused);
    const auto impossible = soft_estimate(std::vector<double>{-inf, -inf}, raw(1));
    CHECK(impossible.q == -inf);
    CHECK(impossible.weights->collapsed);
    CHECK_FALSE(impossible.weights->refused);
    CHECK(soft_estimate(std::vector<double>{0, inf}, raw(1)).q == inf);

    std::vector<double> logs(40, 0.0);
    logs[7] = 60;
    const auto at = [&](collapse_action action) {
        return soft_estimate(logs, {.beta = 1, .weights = {.guard = false, .on_collapse = action}});
    };
    CHECK(at(collapse_action::warn).weights->collapsed);
    CHECK(close(at(collapse_action::warn).q, 60 - std::log(40.0), 1e-9));
    CHECK(at(collapse_action::warn).standard_error == inf);  // one rollout is all there is
    CHECK(close(at(collapse_action::unweighted).q, 1.5, 1e-12));
    CHECK(at(collapse_action::refuse).q == -inf);
    CHECK(at(collapse_action::widen).standard_error == inf);
    logs[7] = 8;
    CHECK(at(collapse_action::widen).standard_error >=
          std::log((39 + std::exp(8)) / 40) - 8.0 / 40 - 1e-9);
}

TEST_CASE("soft_estimate: never NaN, whatever comes in") {
    const double values[] = {0, 1, -1, 1e-300, 1e308, -1e308, 745, -745, inf, -inf};
    for (std::uint64_t trial = 0; trial < 3000; ++trial) {
        const tq::random_key key = tq::random_key{8}.fold_in(trial);
        std::vector<double> logs(key.bits(0) % 40);
        for (std::size_t i = 0; i < logs.size(); ++i)
            logs[i] = values[key.fold_in(1).bits(i) % std::size(values)];
        for (const weighting form : every_form)
            for (const bool guard : {false, true})
                for (const bool corrected : {false, true}) {
                    const auto e = soft_estimate(logs, {.beta = 0.7,
                                                        .jackknife = corrected,
                                                        .weights = {.form = form, .guard = guard}});
                    if (std::isnan(e.q) || std::isnan(e.standard_error))
                        FAIL("trial " << trial << ", form " << static_cast<int>(form) << " guard "
                                      << guard << " jackknife " << corrected);
                }
    }
    SUCCEED();
}

TEST_CASE("controlled_soft_values: equal weights are exact, whatever the ratios") {
    const std::vector<double> rewards{0.1, 0.9, 0.4}, logs(3, 1.5), end{0.3}, end_logs{1.5};
    const std::vector<tq::judged_candidate> candidates{{rewards, logs}, {end, end_logs}};
    std::vector<tq::value_estimate> values(2);
    tq::controlled_soft_values(candidates, 0.2, {0, 1}, values);
    CHECK(close(values[0].q, 0.3, 1e-3));  // a ridge leaves a share of 1e-4 or so
    CHECK(close(values[1].q, 0.3, 1e-12));
    CHECK(values[0].standard_error < 1e-3);
    CHECK(values[1].standard_error == inf);  // one rollout tells no spread
}

TEST_CASE("controlled_soft_values: rollouts of the policy's own kind, known ratios") {
    // Ratios v of mean 1, rewards alike: every value is r, though weights differ by e^2.
    const std::vector<double> rewards(4, 0.5),
        logs{0.5 / 0.2 + 1, 0.5 / 0.2 - 1, 0.5 / 0.2 + 1, 0.5 / 0.2 - 1};
    const std::vector<tq::judged_candidate> candidates{{rewards, logs}};
    std::vector<tq::value_estimate> values(1);
    tq::controlled_soft_values(candidates, 0.2, {}, values);
    CHECK(close(values[0].q, 0.5, 1e-3));
    CHECK(soft_estimate(logs, raw(0.2)).q > 0.58);
}

TEST_CASE("tempered_soft_values: one power for all, and what it takes off is put on again") {
    const std::vector<double> wild = normal_logs(64, 3, 5), tame = normal_logs(64, 0.1, 6),
                              end{0.2};
    const std::vector<double> rewards(64, 0.0), one{0.0};
    const std::vector<tq::judged_candidate> candidates{
        {rewards, wild}, {rewards, tame}, {one, end}};
    std::vector<tq::value_estimate> values(3);
    const double power = tq::tempered_soft_values(candidates, 0.7, values);
    CHECK(power > 0);
    CHECK(power < 0.8);
    CHECK(close(values[2].q, 0.7 * 0.2, 1e-12));
    CHECK(tq::tempered_soft_values(std::span{candidates}.subspan(1), 0.7,
                                   std::span{values}.subspan(1)) == 1);
    CHECK(close(values[1].q, 0.7 * log_mean_exp(tame), 1e-12));
}

TEST_CASE("soft values of a state: never NaN, whatever comes in") {
    const double numbers[] = {0, 1, -1, 1e-300, 1e308, -1e308, 745, -745, inf, -inf};
    for (std::uint64_t trial = 0; trial < 3000; ++trial) {
        const tq::random_key key = tq::random_key{18}.fold_in(trial);
        std::vector<std::vector<double>> rewards(1 + key.bits(0) % 4), logs(rewards.size());
        std::vector<tq::judged_candidate> candidates;
        for (std::size_t z = 0; z < rewards.size(); ++z) {
            const tq::random_key own = key.fold_in(z);
            for (std::size_t i = 0; i <= own.bits(0) % 9; ++i) {
                rewards[z].push_back(numbers[own.fold_in(1).bits(i) % std::size(numbers)]);
                logs[z].push_back(numbers[own.fold_in(2).bits(i) % std::size(numbers)]);
            }
            candidates.push_back({rewards[z], logs[z]});
        }
        std::vector<tq::value_estimate> values(candidates.size());
        tq::controlled_soft_values(candidates, 0.3, {0, 1}, values);
        for (const tq::value_estimate& value : values)
            if (std::isnan(value.q)) FAIL("controlled, trial " << trial);
        tq::tempered_soft_values(candidates, 0.3, values);
        for (const tq::value_estimate& value : values)
            if (std::isnan(value.q)) FAIL("tempered, trial " << trial);
    }
    SUCCEED();
}

TEST_CASE("soft_estimate: options out of range are refused in words") {
    const auto refusal = [](const tq::soft_options& options) {
        return tq::test::message_of<tq::invalid_option>(
            [&] { static_cast<void>(soft_estimate({}, options)); });
    };
    CHECK(refusal({.beta = 0}) == "soft_estimate: beta = 0, must be in (0, inf)");
    CHECK(refusal({.beta = inf}) == "soft_estimate: beta = inf, must be in (0, inf)");
    CHECK(refusal({.beta = 1, .weights = {.form = weighting::reference}}) ==
          "soft_estimate: weights.form = reference, must be another: the authors' program has no "
          "soft value");
    CHECK(refusal({.beta = 1, .weights = {.temper_floor = 2}}) ==
          "soft_estimate: temper_floor = 2, must be in (0, 1]");
}
