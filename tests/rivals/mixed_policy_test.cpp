// Mixed logits against the enumerated optimum of another beta.

#include <tq/rivals/mixed_policy.hpp>

#include <cmath>
#include <tq/tabular/models.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;

TEST_CASE("mixed_policy: of one token it is the optimum at beta / weight, exactly") {
    // With one step the token-level mixture is the answer-level one, which DeRa is derived from.
    for (std::uint64_t number = 0; number < 20; ++number) {
        const tree world{4, 1};
        const log_policy sft = random_policy(world, tq::random_key{number});
        const node_values rewards = random_rewards(world, tq::random_key{number}.fold_in(1));
        const double beta = 0.3;
        const log_policy base = aligned(world, sft, rewards, beta);
        for (const double weight : {-0.5, 0.0, 0.4, 1.0, 2.0}) {
            tq::mixed_policy mixed{tree_policy{world, sft}, tree_policy{world, base}, weight};
            const tq::token_list prompt{0};
            const tq::token_view view{prompt};
            const tq::logits_view row = mixed.next_logits({&view, 1}).front();
            const log_policy wanted =
                tilted(world, sft, rewards, weight == 0 ? HUGE_VAL : beta / weight);
            double sum = 0;
            for (const float logit : row) sum += std::exp(static_cast<double>(logit));
            for (std::size_t z = 0; z < 4; ++z)
                if (!close(static_cast<double>(row[z]) - std::log(sum), wanted[world.child(0, z)],
                           1e-5))
                    FAIL("world " << number << ", weight " << weight);
        }
    }
}

TEST_CASE("mixed_policy: forbidden tokens, one object twice, refusals") {
    tq::test::constant_policy a{{0, -INFINITY, 1}}, b{{-INFINITY, 0, 3}}, small{{0, 0}};
    const tq::token_list prompt{0};
    const tq::token_view view{prompt};
    tq::mixed_policy half{a, b, 0.5};
    const tq::logits_view row = half.next_logits({&view, 1}).front();
    CHECK(row[0] == -INFINITY);
    CHECK(row[1] == -INFINITY);
    CHECK(row[2] == 2);
    tq::mixed_policy same{a, a, 0.5};
    CHECK(same.next_logits({&view, 1}).front()[2] == 1);
    CHECK_THROWS_AS((tq::mixed_policy{a, small, 0.5}), tq::invalid_option);
    CHECK_THROWS_AS((tq::mixed_policy{a, b, std::nan("")}), tq::invalid_option);
}
