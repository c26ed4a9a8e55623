// Compiled to nothing where Boost.Math is not installed.
#if __has_include(<boost/math/tools/toms748_solve.hpp>)

#include <tq/ext/boost/budget.hpp>
#include <tq/tabular/enumerate.hpp>

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

#endif
