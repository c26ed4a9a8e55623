// Whole answers of the real decoder against the enumerated laws, and what it guarantees.

#include <tq/decode/decoder.hpp>
#include <tq/tabular/bigram.hpp>
#include <tq/tabular/models.hpp>
#include <tq/transfer/direct.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/policies.hpp"
#include "support/statistics.hpp"
#include "support/worlds.hpp"

using namespace tq::tabular;
using tq::test::small_world;

namespace {

const tq::sampling_rule greedy_rule{.temperature = 0, .top_p = 1};

/// 3 tokens, 1 ends the answer, at most 3 steps.
small_world make_world() {
    small_world w{.tree = tree{3, 3, 1}, .sft = {}, .rewards = {}, .baseline = {}};
    w.sft = random_policy(w.tree, tq::random_key{1}, 0.7);
    w.rewards = random_rewards(w.tree, tq::random_key{2});
    w.alpha = 0.3;
    w.baseline = aligned(w.tree, w.sft, w.rewards, 0.5);
    return w;
}

/// How often each answer comes up, and the mean divergence along them.
template <class Decoder>
std::pair<std::vector<std::size_t>, double> sample(const small_world& w, Decoder&& decode,
                                                   std::size_t count) {
    const std::vector<tq::token_list> prompts(count, tq::token_list{0});
    auto answers = decode.generate_all(prompts, w.tree.depth());
    while (!answers.advance().empty()) continue;
    std::vector<std::size_t> counts(w.tree.size());
    double kl = 0;
    for (std::size_t i = 0; i < count; ++i) {
        ++counts[w.tree.find(answers.answer(i), answers.finished(i))];
        kl += answers.kl(i) / static_cast<double>(count);
    }
    return {counts, kl};
}

std::vector<double> law_of(const tree& world, const log_policy& pi) {
    const node_values reach = log_reach(world, pi);
    std::vector<double> law(world.size());
    for (node_id node = 0; node < world.size(); ++node)
        if (world.is_leaf(node)) law[node] = std::exp(reach[node]);
    return law;
}

/// The reward of the one answer of a greedy or argmax decoder.
template <class Decoder>
double reward_of(const small_world& w, Decoder&& decode) {
    const tq::token_list prompt{0};
    auto stream = decode.generate(prompt, w.tree.depth());
    for (auto it = stream.begin(); it != stream.end(); ++it) continue;
    return w.rewards[w.tree.find(stream.answer(), stream.finished())];
}

}  // namespace

TEST_CASE("decoder: whole answers follow the enumerated law, and so does their divergence") {
    const small_world w = make_world();
    const node_values q = expectation(w.tree, w.baseline, w.rewards);
    tree_policy policy{w.tree, w.sft}, baseline{w.tree, w.baseline};
    const tq::decode_options options{.alpha = w.alpha, .top_k = tq::whole_vocabulary, .seed = 5};

    const log_policy from_policy = tilted(w.tree, w.sft, q, w.alpha);
    const auto [counts, kl] =
        sample(w, tq::decoder{policy, tree_value{w.tree, q}, options}, 10'000);
    CHECK(tq::test::chi_square(counts, law_of(w.tree, from_policy)).plausible());
    // The divergence along a path is below 2 here, so its spread is below 1.
    CHECK(std::abs(kl - answer_kl(w.tree, from_policy, w.sft)) < 4 / std::sqrt(10'000.0));

    const log_policy from_baseline = tilted(w.tree, w.baseline, q, w.alpha);
    const auto anchored =
        sample(w, tq::decoder{policy, tree_value{w.tree, q}, baseline, options}, 10'000);
    CHECK(tq::test::chi_square(anchored.first, law_of(w.tree, from_baseline)).plausible());
    CHECK_FALSE(tq::test::chi_square(anchored.first, law_of(w.tree, from_policy)).plausible());
}

TEST_CASE("decoder: without a tilt whole answers follow the policy, cut to its top_k") {
    const small_world w = make_world();
    tree_policy policy{w.tree, w.sft};
    const auto frozen =
        sample(w, tq::decoder{policy, tq::zero_value{}, {.top_k = tq::whole_vocabulary}}, 6'000);
    CHECK(tq::test::chi_square(frozen.first, law_of(w.tree, w.sft)).plausible());

    node_values cut = w.sft;  // each state loses its least likely token
    for (node_id node = 0; node < w.tree.size(); ++node) {
        if (w.tree.is_leaf(node)) continue;
        node_id least = w.tree.child(node, 0);
        for (std::size_t z = 1; z < 3; ++z)
            if (w.sft[w.tree.child(node, z)] < w.sft[least]) least = w.tree.child(node, z);
        cut[least] = -HUGE_VAL;
    }
    const auto top_two = sample(w, tq::decoder{policy, tq::zero_value{}, {.top_k = 2}}, 6'000);
    CHECK(tq::test::chi_square(top_two.first, law_of(w.tree, normalise(w.tree, cut))).plausible());
}

TEST_CASE("decoder: soft Q at alpha = beta samples the optimum of the regularised objective") {
    const small_world w = make_world();
    tree_policy policy{w.tree, w.sft};
    const tree_value soft{w.tree, soft_value(w.tree, w.sft, w.rewards, 0.5)};
    const auto sampled =
        sample(w, tq::decoder{policy, soft, {.alpha = 0.5, .top_k = tq::whole_vocabulary}}, 6'000);
    CHECK(tq::test::chi_square(sampled.first, law_of(w.tree, w.baseline)).plausible());
}

TEST_CASE("decoder: greedy rollouts to the end, tilting the baseline, never lose to it") {
    std::size_t gains = 0;
    tq::test::for_worlds(400, [&](const small_world& w, std::uint64_t number) {
        tree_policy policy{w.tree, w.sft}, baseline{w.tree, w.baseline};
        const double greedy_baseline = reward_of(
            w, tq::decoder{baseline, tq::zero_value{}, {.select = tq::selection::argmax}});
        for (const double alpha : {1e-6, 0.1, 1.0})
            for (const std::size_t k : {1U, 2U, 4U}) {
                tq::direct_transfer value{baseline,
                                          tree_reward{w.tree, w.rewards},
                                          {.horizon = 99, .rollouts = 1, .sampling = greedy_rule}};
                tq::decoder decode{policy,
                                   value,
                                   baseline,
                                   {.alpha = alpha, .top_k = k, .select = tq::selection::argmax}};
                const double reward = reward_of(w, decode);
                if (reward < greedy_baseline)
                    FAIL("world " << number << ", alpha " << alpha << ", top_k " << k);
                if (k == 1 && reward != greedy_baseline) FAIL("world " << number << ", top_k 1");
                gains += reward > greedy_baseline;
            }
    });
    CHECK(gains > 200);
}

TEST_CASE("decoder: no answer longer than the limit is ever judged") {
    for (const std::size_t max_tokens : {1U, 2U, 6U}) {
        std::vector<std::size_t> sizes;
        const auto judge = [&sizes](tq::token_view, tq::token_view answer) {
            sizes.push_back(answer.size());
            return 0.0;
        };
        tq::direct_transfer value{
            tq::test::random_bigram(6, 2), judge, {.horizon = 50, .rollouts = 2, .sampling = {}}};
        tq::decoder decode{tq::test::random_bigram(6, 1), value, {.top_k = 3}};
        const tq::token_list prompt{0};
        for (const tq::step& step : decode.generate(prompt, max_tokens)) (void)step;
        CHECK(sizes.size() == 6 * (max_tokens - 1) + 3);  // the last position needs no rollouts
        for (const std::size_t size : sizes) CHECK(size == max_tokens);
    }
}

TEST_CASE("decoder: text past the limit earns nothing; without that cap it would mislead") {
    // After 0: 1 or 2. 1 leads to 4 and then to the prize 3, one token too late; 2 stays 2.
    const auto row = [](std::initializer_list<std::size_t> next) {
        std::vector<float> logits(5, -50);
        for (const std::size_t z : next) logits[z] = 0;
        return logits;
    };
    bigram_model model{{row({1, 2}), row({4}), row({2}), row({3}), row({3})}};
    const auto reward = [](tq::token_view, tq::token_view answer) {
        for (const tq::token_id token : answer)
            if (token == 3) return 1.0;
        return answer.front() == 2 ? 0.5 : 0.0;
    };
    tq::direct_transfer value{
        model, reward, {.horizon = 5, .rollouts = 1, .sampling = greedy_rule}};
    struct uncapped {  // a value that is told the answer could go on
        decltype(value)& inner;
        void evaluate(std::span<const tq::value_query> queries) {
            std::vector<tq::value_query> longer(queries.begin(), queries.end());
            for (tq::value_query& query : longer) query.state.tokens_left = 100;
            inner.evaluate(longer);
        }
    };
    const auto delivered = [&](auto&& q) {
        tq::decoder decode{model, q, {.alpha = 0.01, .select = tq::selection::argmax}};
        const tq::token_list prompt{0};
        auto stream = decode.generate(prompt, 2);
        for (auto it = stream.begin(); it != stream.end(); ++it) continue;
        return reward(prompt, stream.answer());
    };
    CHECK(delivered(value) == 0.5);
    uncapped misled{value};
    CHECK(delivered(misled) == 0.0);
}
