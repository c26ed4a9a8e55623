// Shrinkage of noisy Q and rules for alpha, in the decoder.

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

TEST_CASE("shrink: the tilt is that of the shrunk Q, and the raw Q stays") {
    wide_world w;
    auto q = w.sampled(3);
    const auto plain = answer(tq::decoder{w.policy, q, {}});
    const auto shrunk = answer(tq::decoder{w.policy, q, {.shrink = true}});
    const tq::tilted_distribution &a = plain[0].distribution, &b = shrunk[0].distribution;
    CHECK(a.shrunk.empty());
    CHECK(a.tilting_q() == a.q);
    CHECK(b.q == a.q);
    CHECK(b.q_error == a.q_error);
    CHECK(b.shrunk == tq::shrink(a.q, a.q_error, a.rollouts).q);
    CHECK(b.shrunk != a.q);
    for (const tq::tilted_distribution* d : {&a, &b}) {
        std::vector<double> log_p(d->size());
        const double log_z = tq::tilt(d->log_prior, d->tilting_q(), 0.1, log_p);
        CHECK(d->log_p == log_p);
        CHECK(d->log_z == log_z);
    }
    CHECK(b.kl < a.kl);  // like a larger alpha
}

TEST_CASE("shrink: nothing changes where Q is exact or of one rollout") {
    wide_world w;
    const tq::decode_options options{.shrink = true};
    auto one = w.sampled(1);
    const auto exact = answer(tq::decoder{w.policy, w.exact, options}),
               raw = answer(tq::decoder{w.policy, w.exact}),
               single = answer(tq::decoder{w.policy, one, options}),
               raw_single = answer(tq::decoder{w.policy, one});
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(exact[i].distribution.log_p == raw[i].distribution.log_p);
        CHECK(single[i].distribution.log_p == raw_single[i].distribution.log_p);
    }
}

TEST_CASE("shrink: over many draws the shrunk distribution is nearer to the exact one") {
    wide_world w;
    auto two = w.sampled(2);
    // The best q for E[Q] - alpha KL is the exact one; what do the others lose?
    tq::scorer exact{w.policy, w.exact};
    double raw = 0, shrunk = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        const tq::decode_state state{.sequence = prompt,
                                     .prompt_size = 1,
                                     .tokens_left = 3,
                                     .end_tokens = {},
                                     .key = tq::random_key{seed}};
        const tq::tilted_distribution best = exact.score(state);
        const auto divergence = [&](bool shrink) {
            tq::scorer scorer{w.policy, two, tq::decode_options{.shrink = shrink}};
            return tq::kl_divergence(scorer.score(state).log_p, best.log_p);
        };
        raw += divergence(false);
        shrunk += divergence(true);
    }
    CHECK(shrunk < 0.8 * raw);
}

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

TEST_CASE("alpha_rule and shrink: what they cannot go with is refused") {
    const auto rule = [](const tq::tilted_distribution&, const tq::decode_state&) { return 1.0; };
    CHECK(refusal({.alpha_rule = rule}) == "nothing was thrown");
    CHECK(refusal({.alpha_rule = rule, .race = tq::race_mode::exact}) ==
          "here: race = 1, must be exhaustive with an alpha_rule: it needs every candidate's Q");
    CHECK(refusal({.shrink = true, .race = tq::race_mode::automatic}) ==
          "here: race = 4, must be exhaustive with shrink: it needs every candidate's Q");
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
