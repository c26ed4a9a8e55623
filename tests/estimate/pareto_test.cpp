#include <tq/estimate/pareto.hpp>

#include <algorithm>
#include <cmath>
#include <tq/core/random.hpp>
#include <tq/kernels/log_sum_exp.hpp>
#include <vector>

#include "support/catch.hpp"
#include "support/psis_record.hpp"
#include "support/statistics.hpp"

using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// n log-weights whose linear tail has shape k: scale times exponential noise.
std::vector<double> pareto_logs(std::size_t n, double k, std::uint64_t seed) {
    std::vector<double> logs(n);
    for (std::size_t i = 0; i < n; ++i) logs[i] = -k * std::log(tq::random_key{seed}.uniform(i));
    return logs;
}

}  // namespace

TEST_CASE("pareto_smooth: weights and k-hat are those of arviz-stats") {
    for (const tq::test::psis_case& recorded : tq::test::read_psis_record()) {
        INFO(recorded.name);
        std::vector<double> logs = recorded.log_weights;
        CHECK(close(tq::pareto_k(logs), recorded.k_hat, 1e-9));
        CHECK(close(tq::pareto_smooth(logs), recorded.k_hat, 1e-9));
        const double total = tq::log_sum_exp(std::span<const double>{logs});
        double largest = 0;
        for (std::size_t i = 0; i < logs.size(); ++i)
            largest = std::max(largest, std::abs(logs[i] - total - recorded.smoothed[i]));
        CHECK(largest < 1e-9);
    }
}

TEST_CASE("pareto_k: finds the shape of a tail") {
    for (const double k : {0.2, 0.5, 0.8, 1.2}) {
        INFO(k);
        double sum = 0;
        for (std::uint64_t seed = 0; seed < 20; ++seed)
            sum += tq::pareto_k(pareto_logs(4000, k, seed)) / 20;
        const double tail = 189;  // of 4000; the prior draws k towards 0.5
        CHECK(close(sum, (tail * k + 5) / (tail + 10), 3 * (1 + k) / std::sqrt(20 * tail)));
    }
}

TEST_CASE("fit_pareto: its quantiles are those of the closed form") {
    const tq::pareto_fit fit{.k = 0.5, .sigma = 2};
    CHECK(close(fit.quantile(0.75), 4, 1e-12));  // 2 (0.25^-0.5 - 1) / 0.5
    CHECK(fit.quantile(0) == 0);
    const tq::pareto_fit exponential{.k = 0, .sigma = 2};
    CHECK(close(exponential.quantile(0.5), 2 * std::log(2.0), 1e-12));
}

TEST_CASE("pareto_k: unknown with few weights, none without a tail") {
    CHECK(tq::pareto_k({}) == inf);
    CHECK(tq::pareto_k(pareto_logs(24, 0.5, 1)) == inf);
    CHECK(std::isfinite(tq::pareto_k(pareto_logs(25, 0.5, 1))));
    CHECK(tq::pareto_k(std::vector<double>(100, -3.0)) == -inf);
    CHECK(tq::pareto_k(std::vector<double>(100, -inf)) == inf);

    std::vector<double> rounded(100, 1.0);  // equal but for rounding
    for (std::size_t i = 0; i < 100; ++i) rounded[i] += 1e-14 * tq::random_key{1}.uniform(i);
    CHECK(tq::pareto_k(rounded) == -inf);

    std::vector<double> coin(100, 0.0);  // the largest fifth and more are equal
    for (std::size_t i = 0; i < 40; ++i) coin[2 * i] = 1.0;
    CHECK(tq::pareto_k(coin) == -inf);
    std::vector<double> few(100, 0.0);  // four above the rest: too few to fit
    for (std::size_t i = 0; i < 4; ++i) few[i] = static_cast<double>(i + 1);
    CHECK(tq::pareto_k(few) == inf);
}

TEST_CASE("pareto_smooth: never NaN, never above the largest, whatever the weights") {
    const std::vector<std::vector<double>> strange{
        std::vector<double>(50, inf),
        std::vector<double>(50, std::nan("")),
        [] {
            std::vector<double> x(50, -inf);
            for (std::size_t i = 0; i < 7; ++i) x[i] = static_cast<double>(i);
            return x;
        }(),
        [] {
            std::vector<double> x;
            for (int i = 0; i < 50; ++i) x.push_back(1e3 * i);  // underflows but for the top
            return x;
        }(),
        [] {
            std::vector<double> x;
            for (int i = 0; i < 50; ++i) x.push_back(14.0 * i);  // as wide as doubles go
            return x;
        }(),
        [] {
            std::vector<double> x;
            for (int i = 0; i < 50; ++i) x.push_back(i % 2 == 0 ? 1e308 : -1e308);
            return x;
        }(),
    };
    for (std::size_t number = 0; number < strange.size(); ++number) {
        INFO(number);
        std::vector<double> logs = strange[number];
        CHECK_FALSE(std::isnan(tq::pareto_smooth(logs)));
        for (std::size_t i = 0; i < logs.size(); ++i) {
            CHECK(std::isnan(logs[i]) == std::isnan(strange[number][i]));
            CHECK_FALSE(logs[i] > *std::ranges::max_element(strange[number]));
        }
    }
}

TEST_CASE("pareto_smooth: keeps the order of the weights and leaves the body alone") {
    const std::vector<double> raw = pareto_logs(300, 0.6, 5);
    std::vector<double> smooth = raw;
    static_cast<void>(tq::pareto_smooth(smooth));
    std::size_t changed = 0;
    for (std::size_t i = 0; i < raw.size(); ++i) changed += raw[i] != smooth[i];
    CHECK(changed > 0);
    CHECK(changed <= tq::pareto_tail_size(300));
    for (std::size_t i = 1; i < raw.size(); ++i)
        if (raw[i] > raw[i - 1]) CHECK(smooth[i] >= smooth[i - 1]);
}

TEST_CASE("verdict_of: the usual thresholds") {
    CHECK(tq::verdict_of(-inf) == tq::tail_verdict::good);
    CHECK(tq::verdict_of(0.49) == tq::tail_verdict::good);
    CHECK(tq::verdict_of(0.5) == tq::tail_verdict::fair);
    CHECK(tq::verdict_of(0.7) == tq::tail_verdict::bad);
    CHECK(tq::verdict_of(1.0) == tq::tail_verdict::hopeless);
    CHECK(tq::verdict_of(inf) == tq::tail_verdict::unknown);
    CHECK(close(tq::pareto_k_limit(100), 0.5, 1e-12));
    CHECK(tq::pareto_k_limit(100'000) == 0.7);
    CHECK(tq::pareto_k_limit(1) == -inf);
    CHECK(tq::pareto_k_limit(0) <= 0.7);
}
