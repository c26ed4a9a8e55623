// Log-probabilities of rollouts, against the enumerated law of answers.

#include <tq/rollout/log_probability.hpp>

#include <cmath>
#include <tq/rollout/engine.hpp>
#include <tq/tabular/models.hpp>

#include "support/catch.hpp"
#include "support/message.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::close;
using tq::test::message_of;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// softmax(log pi / temperature) in every state.
log_policy cooled(const tree& world, log_policy pi, double temperature) {
    for (double& value : pi) value /= temperature;
    return normalise(world, std::move(pi));
}

}  // namespace

TEST_CASE("log_probability_of: one token, and the end tokens together") {
    const std::vector<float> row{0, 1, -INFINITY, 2};
    const double z = std::log(1 + std::exp(1.0) + std::exp(2.0));
    CHECK(close(tq::log_probability_of(row, tq::token_list{1}, 1), 1 - z, 1e-7));
    CHECK(close(tq::log_probability_of(row, tq::token_list{0, 3}, 1),
                std::log(1 + std::exp(2.0)) - z, 1e-7));
    const double half = std::log(1 + std::exp(0.5) + std::exp(1.0));
    CHECK(close(tq::log_probability_of(row, tq::token_list{1}, 2), 0.5 - half, 1e-7));
    CHECK(tq::log_probability_of(row, tq::token_list{2}, 1) == -inf);
    CHECK(tq::log_probability_of(row, {}, 1) == -inf);
    CHECK(std::isnan(tq::log_probability_of(std::vector<float>{0, NAN}, tq::token_list{0}, 1)));
    CHECK(std::isnan(tq::log_probability_of(std::vector<float>{-INFINITY}, tq::token_list{0}, 1)));
}

TEST_CASE("rollouts tell their log-probability, and another model's is read from them") {
    tq::test::for_worlds(40, [](const tq::test::small_world& w, std::uint64_t number) {
        const double temperature = number % 2 == 0 ? 1.0 : 0.6;
        const log_policy drawn = cooled(w.tree, w.baseline, temperature);
        const node_values base = log_reach(w.tree, drawn), sft = log_reach(w.tree, w.sft);
        tree_policy model{w.tree, w.baseline}, policy{w.tree, w.sft};
        const tq::token_list ends = w.tree.end_token() == tree::no_end
                                        ? tq::token_list{}
                                        : tq::token_list{w.tree.end_token()};
        const tq::token_list prompt{0};
        std::vector<tq::rollout_request> requests;
        for (std::uint64_t i = 0; i < 5; ++i)
            requests.push_back({.sequence = prompt,
                                .max_tokens = w.tree.depth(),
                                .end_tokens = ends,
                                .key = tq::random_key{number}.fold_in(i),
                                .log_probability = true});
        const auto rollouts = tq::run_rollouts(model, requests, {.temperature = temperature});
        std::vector<tq::continuation_view> views;
        for (const tq::trajectory& rollout : rollouts)
            views.push_back({rollout.sequence, rollout.start, rollout.finished, ends});
        const std::vector<double> read = tq::log_probabilities(policy, views);
        for (std::size_t i = 0; i < rollouts.size(); ++i) {
            const node_id leaf = w.tree.find(rollouts[i].tokens(), rollouts[i].finished);
            if (!close(rollouts[i].log_probability, base[leaf], 1e-5) ||
                !close(read[i], sft[leaf], 1e-5))
                FAIL("world " << number);
        }
    });
}

TEST_CASE("log-probabilities: nobody asks, nothing is said; nothing written is certain") {
    auto model = tq::test::random_bigram(4, 1);
    const tq::token_list prompt{0};
    const tq::rollout_request request{prompt, 3, {}, tq::random_key{1}};
    CHECK(std::isnan(tq::run_rollouts(model, {&request, 1}, {}).front().log_probability));
    const tq::rollout_request none{
        .sequence = prompt, .max_tokens = 0, .end_tokens = {}, .log_probability = true};
    CHECK(tq::run_rollouts(model, {&none, 1}, {}).front().log_probability == 0);
    const tq::continuation_view empty{prompt, 1, false, {}};
    CHECK(empty.rows() == 0);
    CHECK(tq::log_probabilities(model, {&empty, 1}) == std::vector<double>{0});
    CHECK(tq::log_probabilities(model, {}).empty());
}

TEST_CASE("log_probabilities: a model that forbids everything is an error, a token is not") {
    const tq::token_list sequence{0, 1};
    const tq::continuation_view view{sequence, 1, false, {}};
    tq::test::constant_policy nothing{{-INFINITY, -INFINITY}}, other{{0, -INFINITY}};
    CHECK(tq::test::contains(message_of<tq::backend_error>([&] {
                                 static_cast<void>(tq::log_probabilities(nothing, {&view, 1}));
                             }),
                             "at position 1 hold NaN"));
    CHECK(tq::log_probabilities(other, {&view, 1}).front() == -inf);
}

TEST_CASE("log_probabilities: tokens that the model does not have") {
    auto model = tq::test::random_bigram(4, 1);
    for (const tq::token_id token : {4, 2'000'000'000, -7}) {
        // As the last token and, where the model would read it, in the middle.
        for (const tq::token_list& sequence :
             {tq::token_list{0, token}, tq::token_list{0, token, 1}}) {
            const tq::continuation_view view{sequence, 1, false, {}};
            CHECK(message_of<tq::backend_error>([&] {
                      static_cast<void>(tq::log_probabilities(model, {&view, 1}));
                  }) == "log_probabilities: token " + std::to_string(token) +
                            " of a continuation, must be in [0, 4)");
        }
    }
}

TEST_CASE("log-probabilities need a law that gives every token a probability") {
    auto model = tq::test::random_bigram(4, 1);
    const auto refusal = [&](tq::sampling_rule rule) {
        const tq::token_list prompt{0};
        const tq::rollout_request request{
            .sequence = prompt, .max_tokens = 2, .end_tokens = {}, .log_probability = true};
        return message_of<tq::invalid_option>([&] {
            static_cast<void>(tq::run_rollouts(model, {&request, 1}, rule));
        });
    };
    CHECK(tq::test::contains(refusal({.temperature = 0}), "temperature = 0, must be > 0"));
    CHECK(tq::test::contains(refusal({.top_p = 0.9}), "top_p = 0.9, must be 1"));
}
