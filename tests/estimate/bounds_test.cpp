#include <tq/estimate/bounds.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/statistics.hpp"

using tq::test::close;

TEST_CASE("bounds: the published forms, by hand") {
    CHECK(tq::policy_anchor_kl_bound(0.05, 4, 0.5) == 40);                // T r / alpha
    CHECK(tq::policy_anchor_kl_bound(2, 4, 0.5) == 4 * 0.25 * 0.25 / 8);  // T r^2 / (8 alpha^2)
    CHECK(tq::policy_anchor_kl_bound(HUGE_VAL, 4, 0.5) == 0);
    CHECK(tq::policy_anchor_kl_bound(1, 4, 0) == 0);
    CHECK(tq::aligned_kl_bound(0.05, 0.5) == 10);
    CHECK(tq::aligned_kl_bound(2, 0.5) == 0.25 * 0.25 / 8);
    CHECK(close(tq::baseline_anchor_kl_bound(0.1, 0.5, 4, 0.5), 1 + 20, 1e-12));
    CHECK(tq::baseline_anchor_kl_bound(HUGE_VAL, 0.5, 4, 0.5) == 1);
}
