// Rules for alpha, in the decoder.

#include <tq/decode/block_decoder.hpp>
#include <tq/decode/decoder.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;

namespace {

/// Eight tokens, three steps.
struct wide_world {
    tree world{8, 3};
    log_policy sft = random_policy(world, tq::random_key{1});
    node_values rewards = random_rewards(world, tq::random_key{2});
    log_policy base = aligned(world, sft, rewards, 0.5);
    tree_policy policy{world, sft}, baseline{world, base};
    tree_reward reward{world, rewards};
    tree_value exact{world, expectation(world, base, rewards)};

    [[nodiscard]] auto sampled(std::size_t rollouts) {
        return tq::direct_transfer{
            baseline, reward,
            tq::rollout_options{.rollouts = rollouts, .sampling = {.temperature = 1}}};
    }
};

const tq::token_list prompt{0};

template <class Decoder>
std::vector<tq::step> answer(Decoder&& decode) {
    std::vector<tq::step> steps;
    for (const tq::step& step : decode.generate(prompt, 3)) steps.push_back(step);
    return steps;
}

std::string refusal(const tq::decode_options& options) {
    return tq::test::message_of<tq::invalid_option>([&] { tq::validate(options, "here"); });
}

}  // namespace

TEST_CASE("alpha_rule: is asked with Q and what was spent, and its alpha is used") {
    wide_world w;
    std::vector<double> kl, answered;
    const tq::decode_options options{
        .alpha_rule = [&](const tq::tilted_distribution& d, const tq::decode_state& state) {
            CHECK(d.q.size() == 8);
            CHECK(!std::isnan(d.q[0]));
            kl.push_back(state.kl);
            answered.push_back(0.1 + 0.2 * static_cast<double>(state.answer().size()));
            return answered.back();
        }};
    const auto steps = answer(tq::decoder{w.policy, w.exact, w.baseline, options});
    REQUIRE(steps.size() == 3);
    double spent = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        const tq::tilted_distribution& d = steps[i].distribution;
        CHECK(d.alpha == answered[i]);
        CHECK(kl[i] == spent);
        std::vector<double> log_p(8);
        tq::tilt(d.log_prior, d.q, answered[i], log_p);
        CHECK(d.log_p == log_p);
        CHECK(close(d.kl_prior, tq::kl_divergence(d.log_p, d.log_prior), 1e-6));
        CHECK(close(d.kl, tq::kl_divergence(d.log_p, d.log_pi), 1e-6));
        spent += d.kl_prior;
    }
    CHECK(answer(tq::decoder{w.policy, w.exact})[0].distribution.alpha == 0.1);
}

TEST_CASE("alpha_rule: what it cannot go with is refused") {
    const auto rule = [](const tq::tilted_distribution&, const tq::decode_state&) { return 1.0; };
    CHECK(refusal({.alpha_rule = rule}) == "nothing was thrown");
    CHECK(
        refusal({.alpha_rule = rule, .race = tq::race_mode::confident}) ==
        "here: race = confident, must be exhaustive or exact with an alpha_rule: it needs every Q");
    CHECK(refusal({.alpha_rule = rule, .token_budget = 10}) ==
          "here: token_budget = 10, must be inf where every Q is wanted (an alpha_rule, or race = "
          "exhaustive)");
    wide_world w;
    for (const double bad : {0.0, -1.0, std::nan("")}) {
        tq::decoder decode{
            w.policy, w.exact, {.alpha_rule = [=](const auto&, const auto&) { return bad; }}};
        CHECK_THROWS_AS(answer(decode), tq::invalid_option);
    }
    static constexpr double inf = std::numeric_limits<double>::infinity();
    const auto frozen = answer(tq::decoder{
        w.policy, w.exact, {.alpha_rule = [](const auto&, const auto&) { return inf; }}});
    CHECK(close(frozen[0].distribution.kl, 0, 1e-6));
}
