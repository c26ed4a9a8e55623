// alpha from the spread of Q between candidates, on worlds whose Q are known.

#include <tq/decode/suggest_alpha.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"

namespace {

/// One token's worth of a reward in [0, 1] that differs by `spread` between the tokens of a state.
struct narrow_reward {
    double spread;
    double operator()(tq::token_view, tq::token_view answer) const {
        return 0.5 + (answer.back() % 2 == 0 ? spread : 0);
    }
    [[nodiscard]] static tq::reward_range range() { return {0, 1}; }
};

}  // namespace

TEST_CASE("suggest_alpha: goes by the candidates of a state, not by the reward's range") {
    tq::tabular::bigram_model model = tq::test::random_bigram(8, 3);
    const std::vector<tq::token_list> prompts{{0}, {1}, {2}};
    for (const double spread : {0.4, 0.01}) {
        tq::direct_transfer q{model, narrow_reward{spread}, {.horizon = 0}};
        const auto found = tq::suggest_alpha(model, q, prompts, {.top_k = 8});
        CHECK(found.spread == Catch::Approx(spread));
        CHECK(found.alpha == Catch::Approx(spread / 4));
        CHECK(found.states == 24);
        // With it the tilt moves the prior; a tenth of the range would not where Q hardly differs.
        const auto kl = [&](double alpha) {
            tq::decoder decode{
                model, q, {.alpha = alpha, .top_k = 8, .race = tq::race_mode::exhaustive}};
            double sum = 0;
            for (const tq::step& step : decode.generate(prompts[0], 8)) sum += step.kl / 8;
            return sum;
        };
        CHECK(kl(found.alpha) > 0.2);
        if (spread == 0.01) CHECK(kl(0.1) < 0.01);
    }
}

TEST_CASE("suggest_alpha: the median state, and what it refuses") {
    std::vector<tq::tilted_distribution> states(3);
    states[0].q = {0, 1};
    states[1].q = {0.25, 0.5, -std::numeric_limits<double>::infinity()};
    states[2].q = {0.5};
    CHECK(tq::suggest_alpha(states).spread == 0.25);
    CHECK(tq::suggest_alpha(states, 0.5).alpha == 0.5);
    states[1].q = {0.5, 0.5};
    CHECK(std::isinf(tq::suggest_alpha(states).alpha));
    states[0].q[0] = std::nan("");
    CHECK(tq::test::message_of<tq::invalid_option>([&] {
              static_cast<void>(tq::suggest_alpha(states));
          }) == "suggest_alpha: q = nan, must be known: race = exhaustive");
    CHECK_THROWS_AS(tq::suggest_alpha(std::span<const tq::tilted_distribution>{}),
                    tq::invalid_option);
    CHECK_THROWS_AS(tq::suggest_alpha(states, 0), tq::invalid_option);
}
