// Corrections of few rollouts against enumeration: small worlds whose Q and variances are known.

#include <tq/estimate/mean.hpp>
#include <tq/kernels/tilt.hpp>
#include <tq/lab/shrink.hpp>
#include <tq/tabular/enumerate.hpp>
#include <tq/tabular/sample.hpp>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"

using namespace tq::tabular;
using tq::test::close;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const double unknown = std::nan("");

/// A state with eight candidates, two tokens before the end of the answer.
struct wide_world {
    tree world{8, 3};
    log_policy policy, baseline;
    node_values rewards;
    std::vector<double> q, variance, log_prior;  // [8] exact, of the candidates at the root

    /// Rewards in (0, 1) plus `spread` times the first token's own share.
    wide_world(std::uint64_t number, double spread) {
        const tq::random_key key = tq::random_key{77}.fold_in(number);
        policy = random_policy(world, key.fold_in(0));
        baseline = random_policy(world, key.fold_in(1));
        rewards = random_rewards(world, key.fold_in(2));
        for (node_id node = 1; node < world.size(); ++node) {
            node_id first = node;
            while (world.parent(first) != tree::root()) first = world.parent(first);
            rewards[node] += spread * key.fold_in(3).uniform(first);
        }
        node_values squares = rewards;
        for (double& r : squares) r *= r;
        const node_values mean = expectation(world, baseline, rewards),
                          second = expectation(world, baseline, squares);
        for (std::size_t z = 0; z < 8; ++z) {
            const node_id node = world.child(tree::root(), z);
            q.push_back(mean[node]);
            variance.push_back(second[node] - mean[node] * mean[node]);
            log_prior.push_back(policy[node]);
        }
    }

    struct estimates {
        std::vector<double> q, error;
        std::vector<std::size_t> rollouts;
    };
    [[nodiscard]] estimates estimate(std::size_t rollouts, std::uint64_t draw) const {
        estimates result;
        for (std::size_t z = 0; z < 8; ++z) {
            std::vector<double> drawn;
            for (std::size_t i = 0; i < rollouts; ++i)
                drawn.push_back(rewards[draw_answer(world, baseline, world.child(0, z),
                                                    tq::random_key{draw}.fold_in(z).fold_in(i))]);
            const tq::value_estimate value = tq::mean_estimate(drawn);
            result.q.push_back(value.q);
            result.error.push_back(value.standard_error);
            result.rollouts.push_back(value.rollouts);
        }
        return result;
    }
};

double mean(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double squared_error(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/// The mean is within four standard errors of `expected`.
bool plausible(const std::vector<double>& draws, double expected) {
    const tq::value_estimate value = tq::mean_estimate(draws);
    return std::abs(value.q - expected) < 4 * value.standard_error;
}

/// E_p[Q] - alpha KL(p || prior) of the tilt by some q, in the world's exact Q.
double objective(const wide_world& w, const std::vector<double>& q, double alpha) {
    std::vector<double> log_p(q.size());
    tq::tilt(w.log_prior, q, alpha, log_p);
    double value = -alpha * tq::kl_divergence(log_p, w.log_prior);
    for (std::size_t i = 0; i < q.size(); ++i) value += std::exp(log_p[i]) * w.q[i];
    return value;
}

}  // namespace

TEST_CASE("shrink: both variances are right on average") {
    // Candidates so far apart that tau^2 is never cut at 0.
    const wide_world w{1, 4};
    const double middle = mean(w.q);
    double spread = 0;
    for (const double q : w.q) spread += (q - middle) * (q - middle) / 7;
    std::vector<double> within, between;
    for (std::uint64_t draw = 0; draw < 3000; ++draw) {
        const auto [q, error, rollouts] = w.estimate(2, draw);
        const tq::shrunk_values shrunk = tq::shrink(q, error, rollouts);
        within.push_back(shrunk.within);
        between.push_back(shrunk.between);
        REQUIRE(shrunk.between > 0);
    }
    CHECK(plausible(within, mean(w.variance)));
    CHECK(plausible(between, spread));
}

TEST_CASE("shrink: where noise dominates it errs less, and the sum of Q stays unbiased") {
    for (std::uint64_t number = 0; number < 5; ++number) {
        const wide_world w{number, 0.05};
        double raw = 0, better = 0, stated = 0;
        std::vector<double> sums;
        for (std::uint64_t draw = 0; draw < 400; ++draw) {
            const auto [q, error, rollouts] = w.estimate(2, draw);
            const tq::shrunk_values shrunk = tq::shrink(q, error, rollouts);
            raw += squared_error(q, w.q);
            better += squared_error(shrunk.q, w.q);
            for (const double e : shrunk.error) stated += e * e;
            sums.push_back(mean(shrunk.q));
        }
        CHECK(better < 0.6 * raw);
        CHECK(plausible(sums, mean(w.q)));
        // The stated errors do not know how unsure tau^2 is.
        CHECK(stated > 0.4 * better);
        CHECK(stated < 1.5 * better);
    }
}

TEST_CASE("shrink: its bias is towards the mean, and vanishes as rollouts grow") {
    const wide_world w{3, 0.5};
    const double middle = mean(w.q);
    double last = inf;
    for (const std::size_t rollouts : {2U, 8U, 32U}) {
        std::vector<double> total(8);
        constexpr std::uint64_t draws = 300;
        for (std::uint64_t draw = 0; draw < draws; ++draw) {
            const auto [q, error, counts] = w.estimate(rollouts, draw);
            const tq::shrunk_values shrunk = tq::shrink(q, error, counts);
            for (std::size_t i = 0; i < 8; ++i) total[i] += shrunk.q[i] / draws;
        }
        double along = 0, spread = 0;  // slope of the bias on the distance from the mean
        for (std::size_t i = 0; i < 8; ++i) {
            along += (total[i] - w.q[i]) * (w.q[i] - middle);
            spread += (w.q[i] - middle) * (w.q[i] - middle);
        }
        const double slope = along / spread;
        CHECK(slope < 0);
        CHECK(std::abs(slope) < 0.7 * last);
        last = std::abs(slope);
    }
    CHECK(last < 0.2);
}

TEST_CASE("shrink: the tilt by it is worth more where noise dominates") {
    constexpr double alpha = 0.05;
    double raw = 0, better = 0;
    for (std::uint64_t number = 0; number < 10; ++number) {
        const wide_world w{number, 0.1};
        const double best = objective(w, w.q, alpha);
        for (std::uint64_t draw = 0; draw < 150; ++draw) {
            const auto [q, error, rollouts] = w.estimate(2, draw);
            const double loss = best - objective(w, q, alpha),
                         other = best - objective(w, tq::shrink(q, error, rollouts).q, alpha);
            REQUIRE(std::min(loss, other) > -1e-12);  // nothing beats the exact closed form
            raw += loss;
            better += other;
        }
    }
    CHECK(better < 0.8 * raw);
}

TEST_CASE("shrink: with equal errors the tilt is that of the raw values at alpha / (1 - b)") {
    const wide_world w{2, 0.3};
    const auto [q, error, rollouts] = w.estimate(4, 9);
    const tq::shrunk_values shrunk = tq::shrink(q, error, rollouts);
    REQUIRE(shrunk.between > 0);
    const double v = shrunk.within / 4, b = v / (v + shrunk.between);
    std::vector<double> a(8), other(8);
    tq::tilt(w.log_prior, shrunk.q, 0.1, a);
    tq::tilt(w.log_prior, q, 0.1 / (1 - b), other);
    for (std::size_t i = 0; i < 8; ++i) CHECK(close(a[i], other[i], 1e-12));
}

TEST_CASE("shrink: towards a regression line") {
    const std::vector<double> x{0, 1, 2, 3, 4, 5, 6, 7};
    const std::span<const double> covariate{x};
    const std::vector<std::size_t> rollouts(8, 4);
    const std::vector<double> error(8, 0.5);
    double to_mean = 0, to_line = 0;
    for (std::uint64_t draw = 0; draw < 500; ++draw) {
        const tq::random_key key{draw};
        std::vector<double> truth(8), q(8);
        for (std::size_t i = 0; i < 8; ++i) {
            truth[i] = 3 - 0.4 * x[i];
            q[i] = truth[i] + std::sqrt(12.0) * 0.5 * (key.uniform(i) - 0.5);  // sd 0.5
        }
        // The line by the textbook's formula.
        const double mx = mean(x), mq = mean(q);
        double sxq = 0, sxx = 0, residuals = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            sxq += (x[i] - mx) * (q[i] - mq);
            sxx += (x[i] - mx) * (x[i] - mx);
        }
        const auto line = [&](std::size_t i) { return mq + sxq / sxx * (x[i] - mx); };
        for (std::size_t i = 0; i < 8; ++i) residuals += (q[i] - line(i)) * (q[i] - line(i));
        const double between = std::max(0.0, residuals / 6 - 0.25), b = 0.25 / (0.25 + between);
        const tq::shrunk_values shrunk = tq::shrink(q, error, rollouts, {&covariate, 1});
        REQUIRE(close(shrunk.within, 1, 1e-12));
        REQUIRE(close(shrunk.between, between, 1e-12));
        for (std::size_t i = 0; i < 8; ++i)
            REQUIRE(close(shrunk.q[i], q[i] - b * (q[i] - line(i)), 1e-12));
        to_line += squared_error(shrunk.q, truth);
        to_mean += squared_error(tq::shrink(q, error, rollouts).q, truth);
    }
    CHECK(to_line < 0.7 * to_mean);

    // A covariate that says nothing, or what another says, is as none.
    const std::vector<double> flat(8, 2.5), q{1, 0, 2, 5, 3, 1, 4, 2};
    std::vector<double> twice = x;
    for (double& value : twice) value = 7 - 2 * value;
    const std::span<const double> columns[] = {flat, x, twice};
    const auto plain = tq::shrink(q, error, rollouts),
               constant = tq::shrink(q, error, rollouts, {columns, 1}),
               one = tq::shrink(q, error, rollouts, {&covariate, 1}),
               all = tq::shrink(q, error, rollouts, columns);
    CHECK(plain.q == constant.q);
    for (std::size_t i = 0; i < 8; ++i) CHECK(close(one.q[i], all.q[i], 1e-12));
}

TEST_CASE("shrink: nothing changes where nothing is known or nothing is noisy") {
    const std::vector<double> q{1, 2, 4, 8, 16}, zero(5, 0.0), nan(5, unknown), some(5, 0.1);
    const std::vector<std::size_t> none(5, 0), one(5, 1), four(5, 4);
    CHECK(tq::shrink(q, zero, none).q == q);  // exact
    CHECK(tq::shrink(q, zero, four).q == q);  // rollouts without any spread
    CHECK(tq::shrink(q, nan, one).q == q);    // one rollout each
    CHECK(tq::shrink(q, nan, none).q == q);   // horizon 0
    CHECK(std::isnan(tq::shrink(q, nan, one).within));
    CHECK(std::isnan(tq::shrink(q, nan, one).error[0]));
    // Too few candidates to learn from.
    const auto first = [](const auto& values, std::size_t n) { return std::span{values}.first(n); };
    for (std::size_t n = 0; n < 4; ++n) {
        const auto shrunk = tq::shrink(first(q, n), first(some, n), first(four, n));
        CHECK(std::equal(shrunk.q.begin(), shrunk.q.end(), q.begin()));
    }
    CHECK(tq::shrink(first(q, 4), first(some, 4), first(four, 4)).q[0] > 1);
    // A large tau^2 leaves the raw values.
    std::vector<double> apart = q;
    for (double& value : apart) value *= 1e6;
    const auto shrunk = tq::shrink(apart, some, four);
    for (std::size_t i = 0; i < 5; ++i) CHECK(close(shrunk.q[i] / apart[i], 1, 1e-9));
}

TEST_CASE("shrink: edges") {
    const std::vector<double> error{0.2, 0.2, 0, unknown, 0.2, unknown, 0.2};
    const std::vector<std::size_t> rollouts{4, 4, 0, 4, 4, 0, 4};
    const std::vector<double> q{0.5, 0.6, 0.1, 0.4, -inf, 0.7, 0.55};
    const auto shrunk = tq::shrink(q, error, rollouts);
    CHECK(close(shrunk.within, 0.16, 1e-12));
    CHECK(shrunk.q[2] == 0.1);  // exact: kept, and pulls the mean
    CHECK(shrunk.error[2] == 0);
    CHECK(shrunk.q[4] == -inf);  // forbidden: kept, and not in the mean
    CHECK(shrunk.q[5] == 0.7);   // nothing is known of its error
    CHECK(std::isnan(shrunk.error[5]));
    const double middle = (0.5 + 0.6 + 0.1 + 0.4 + 0.55) / 5;
    for (const std::size_t i : {0U, 1U, 3U, 6U}) {  // 3: unknown, but of four rollouts
        CHECK(std::abs(shrunk.q[i] - middle) < std::abs(q[i] - middle));
        CHECK(shrunk.error[i] > 0);
        CHECK(shrunk.error[i] < 0.2);
    }
    // All alike: they stay so, and the error is that of the mean of all.
    const auto equal = tq::shrink(std::vector<double>(5, 0.3), std::vector<double>(5, 0.2),
                                  std::vector<std::size_t>(5, 4));
    CHECK(equal.between == 0);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(close(equal.q[i], 0.3, 1e-12));
        CHECK(close(equal.error[i], 0.2 / std::sqrt(5.0), 1e-12));
    }
    // Two equal rewards by chance are no proof that a candidate is exact.
    const auto lucky =
        tq::shrink(std::vector<double>{1, 0.5, 0.4, 0.6}, std::vector<double>{0, 0.4, 0.4, 0.4},
                   std::vector<std::size_t>(4, 2));
    CHECK(lucky.q[0] < 1);
}
