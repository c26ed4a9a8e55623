#include <tq/estimate/normalise.hpp>

#include <cmath>
#include <tq/core/random.hpp>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/statistics.hpp"

using tq::weighting;
using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// n log-weights, normal with a standard deviation.
std::vector<double> normal_logs(std::size_t n, double spread, std::uint64_t seed = 1) {
    std::vector<double> logs(n);
    for (std::size_t i = 0; i < n; ++i) {
        const tq::random_key key{seed};
        logs[i] = spread * std::sqrt(-2 * std::log(key.uniform(2 * i))) *
                  std::cos(2 * 3.14159265358979323846 * key.uniform(2 * i + 1));
    }
    return logs;
}

double ess(const std::vector<double>& logs, double power) {
    double sum = 0, squares = 0;
    for (const double value : logs) {
        sum += std::exp(power * value);
        squares += std::exp(2 * power * value);
    }
    return sum * sum / squares;
}

std::string refusal(const tq::weight_options& options) {
    return tq::test::message_of<tq::invalid_option>([&] { tq::validate(options, "here"); });
}

}  // namespace

TEST_CASE("diagnose_weights: effective sample size and largest share, worked out by hand") {
    const std::vector<double> logs{std::log(1.0), std::log(2.0), std::log(5.0), -inf};
    const tq::weight_diagnostics d = tq::diagnose_weights(logs);
    CHECK(close(d.ess, 64.0 / 30.0, 1e-12));
    CHECK(close(d.max_share, 5.0 / 8.0, 1e-12));
    CHECK(d.positive == 3);
    CHECK(d.k_hat == inf);
    CHECK_FALSE(d.collapsed);

    std::vector<double> shifted = logs;
    for (double& value : shifted) value += 900;  // overflows as a number
    CHECK(close(tq::diagnose_weights(shifted).ess, d.ess, 1e-9));
}

TEST_CASE("diagnose_weights: edges") {
    CHECK(tq::diagnose_weights({}).collapsed);
    CHECK(tq::diagnose_weights({}).ess == 0);
    CHECK(tq::diagnose_weights(std::vector<double>{-inf, -inf}).collapsed);
    CHECK(tq::diagnose_weights(std::vector<double>{-inf, -inf}).max_share == 0);
    CHECK(tq::diagnose_weights(std::vector<double>{0, std::nan("")}).collapsed);
    const auto one = tq::diagnose_weights(std::vector<double>{-700});
    CHECK(one.ess == 1);
    CHECK_FALSE(one.collapsed);
    const auto infinite = tq::diagnose_weights(std::vector<double>{inf, 3, inf, 0});
    CHECK(infinite.ess == 2);
    CHECK(infinite.max_share == 0.5);
}

TEST_CASE("diagnose_weights: collapse by effective sample size, and by k-hat") {
    const std::vector<double> even(20, 0.0);
    std::vector<double> one_wins = even;
    one_wins[3] = 8;
    CHECK_FALSE(tq::diagnose_weights(even).collapsed);
    CHECK(tq::diagnose_weights(one_wins).collapsed);
    CHECK_FALSE(tq::diagnose_weights(one_wins, {.collapse_share = 0}).collapsed);
    CHECK_FALSE(tq::diagnose_weights(one_wins, {.collapse_ess = 1}).collapsed);

    std::vector<double> heavy(2000);  // k = 1.2, and still many effective ones
    for (std::size_t i = 0; i < heavy.size(); ++i)
        heavy[i] = -0.9 * std::log(tq::random_key{2}.uniform(i));
    const auto d = tq::diagnose_weights(heavy, {.collapse_share = 0});
    CHECK(d.k_hat > 0.7);
    CHECK(d.collapsed);
    CHECK_FALSE(tq::diagnose_weights(heavy, {.collapse_share = 0, .collapse_k = inf}).collapsed);
}

TEST_CASE("tempered: the largest power that keeps the effective sample size at the floor") {
    for (const double spread : {0.1, 0.7, 2.0, 10.0})
        for (const double floor : {0.25, 0.5, 0.9}) {
            INFO(spread << ' ' << floor);
            const std::vector<double> logs = normal_logs(40, spread);
            const auto d =
                tq::choose_weights(logs, {.form = weighting::tempered, .temper_floor = floor})
                    .diagnostics;
            CHECK(d.used == weighting::tempered);
            CHECK(ess(logs, d.power) >= 40 * floor - 1e-6);
            if (d.power < 1)
                CHECK(ess(logs, d.power * 1.001) < 40 * floor);
            else
                CHECK(ess(logs, 1) >= 40 * floor);
        }
}

TEST_CASE("tempered: weights of 0 do not count, neither for the floor nor after") {
    std::vector<double> logs = normal_logs(40, 2.0);
    for (std::size_t i = 0; i < 30; ++i) logs[i] = -inf;
    const auto d =
        tq::choose_weights(logs, {.form = weighting::tempered, .on_collapse = {}}).diagnostics;
    CHECK(d.power > 0);
    CHECK(d.power < 1);
}

TEST_CASE("clipped: no weight exceeds the quantile or the multiple of the mean") {
    const std::vector<double> logs = normal_logs(50, 2.0);
    double mean = 0;
    for (const double value : logs) mean += std::exp(value) / 50;
    std::vector<double> sorted = logs;
    std::ranges::sort(sorted);
    const auto largest = [&](const tq::weight_options& options) {
        const std::vector<double> clipped = tq::choose_weights(logs, options).log_weights;
        return *std::ranges::max_element(clipped);
    };
    CHECK(close(largest({.form = weighting::clipped, .clip_quantile = 0.8, .clip_multiple = inf}),
                sorted[39], 1e-12));
    CHECK(close(largest({.form = weighting::clipped, .clip_multiple = 2}), std::log(2 * mean),
                1e-12));
    CHECK(close(largest({.form = weighting::clipped}),
                std::min(sorted.back(), std::log(std::sqrt(50.0) * mean)), 1e-12));
    CHECK(largest({.form = weighting::clipped, .clip_multiple = inf}) == sorted.back());
}

TEST_CASE("default rule: which form at which number of rollouts and effective sample size") {
    const auto form = [](std::size_t n, double effective, bool guard = true) {
        tq::weight_diagnostics d;
        d.positive = n;
        d.ess = effective;
        return tq::form_of_estimate(n, d, {.guard = guard}, tq::importance_guard);
    };
    CHECK(form(1, 1) == weighting::unweighted);  // the weight cancels
    CHECK(form(4, 3.5) == weighting::unweighted);
    CHECK(form(4, 3.7) == weighting::self_normalised);  // 90 % of 4 are left
    CHECK(form(7, 2) == weighting::unweighted);
    CHECK(form(8, 2) == weighting::tempered);
    CHECK(form(50, 44) == weighting::tempered);
    CHECK(form(50, 46) == weighting::self_normalised);
    CHECK(form(1000, 63) == weighting::tempered);
    CHECK(form(1000, 65) == weighting::self_normalised);
    CHECK(form(8, 2, false) == weighting::self_normalised);
    CHECK(form(1, 1, false) == weighting::unweighted);
    CHECK(tq::importance_guard.floor(10) == 9);
    CHECK(tq::importance_guard.floor(1000) == 64);
    CHECK(tq::soft_guard.floor(10) == 5);
    CHECK(tq::soft_guard.floor(1000) == 16);
}

TEST_CASE("default rule: only forms that normalise give way to one rollout") {
    tq::weight_diagnostics d;
    d.positive = 1;
    d.ess = 1;
    for (const weighting form : {weighting::tempered, weighting::clipped,
                                 weighting::pareto_smoothed, weighting::self_normalised})
        CHECK(tq::form_of_estimate(1, d, {.form = form}, {}) == weighting::unweighted);
    for (const weighting form : {weighting::plain, weighting::reference})
        CHECK(tq::form_of_estimate(1, d, {.form = form}, {}) == form);
}

TEST_CASE("weight options: the ends of every range are accepted, beyond them is refused in words") {
    CHECK(refusal({}) == "nothing was thrown");
    CHECK(refusal({.temper_floor = 1,
                   .clip_quantile = 1,
                   .clip_multiple = 1,
                   .collapse_share = 1,
                   .collapse_ess = 1,
                   .collapse_k = inf}) == "nothing was thrown");
    CHECK(refusal({.temper_floor = 0}) == "here: temper_floor = 0, must be in (0, 1]");
    CHECK(refusal({.temper_floor = 1.1}) != "nothing was thrown");
    CHECK(refusal({.clip_quantile = 0}) == "here: clip_quantile = 0, must be in (0, 1]");
    CHECK(refusal({.clip_multiple = 0.5}) == "here: clip_multiple = 0.5, must be 0 or in [1, inf]");
    CHECK(refusal({.collapse_share = -0.1}) == "here: collapse_share = -0.1, must be in [0, 1]");
    CHECK(refusal({.collapse_ess = 0}) == "here: collapse_ess = 0, must be >= 1");
    CHECK(refusal({.collapse_k = std::nan("")}) == "here: collapse_k = nan, must be in (0, inf]");
}
