// What steps of methods that choose among draws say of their divergence, against enumeration.

#include <tq/rivals/best_of_n.hpp>
#include <tq/rivals/controlled_decoding.hpp>
#include <tq/rivals/segment_rejection.hpp>
#include <tq/rivals/speculative_rejection.hpp>
#include <tq/tabular/models.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <tq/tabular/enumerate.hpp>
#include <vector>

#include "support/catch.hpp"
#include "support/statistics.hpp"

using namespace tq::tabular;
using tq::token_list;

namespace {

using law = std::map<node_id, double>;  // of the node that a block ends at

double divergence(const law& p, const law& q) {
    double sum = 0;
    for (const auto& [node, mass] : p)
        if (mass > 0) sum += mass * std::log(mass / q.at(node));
    return sum;
}

/// Six tokens deep, three wide, all rewards different.
struct world_of_draws {
    tree world{3, 6};
    log_policy pi = random_policy(world, tq::random_key{31});
    node_values rewards = random_rewards(world, tq::random_key{32});
    tree_policy policy{world, pi};
    tree_reward reward{world, rewards};

    /// Where a block of some tokens from `node` ends under the policy.
    [[nodiscard]] law blocks(node_id node, std::size_t tokens) const {
        if (tokens == 0 || world.is_leaf(node)) return {{node, 1.0}};
        law result;
        for (std::size_t z = 0; z < 3; ++z)
            for (const auto& [end, p] : blocks(world.child(node, z), tokens - 1))
                result[end] += std::exp(pi[world.child(node, z)]) * p;
        return result;
    }

    /// The law of the best of n blocks, by the reward of what is there.
    [[nodiscard]] law best(const law& block, std::size_t n) const {
        std::vector<node_id> order;
        for (const auto& [node, p] : block) order.push_back(node);
        std::ranges::sort(order, {}, [&](node_id node) { return rewards[node]; });
        law result;
        double below = 0;
        for (const node_id node : order) {
            const double upto = below + block.at(node);
            const auto power = static_cast<double>(n);
            result[node] = std::pow(upto, power) - std::pow(below, power);
            below = upto;
        }
        return result;
    }

    /// Divergence of the best of n blocks after another, by enumeration.
    [[nodiscard]] double best_divergence(node_id node, std::size_t tokens, std::size_t n) const {
        if (world.is_leaf(node)) return 0;
        const law block = blocks(node, tokens), chosen = best(block, n);
        double sum = divergence(chosen, block);
        for (const auto& [end, p] : chosen)
            if (p > 0) sum += p * best_divergence(end, tokens, n);
        return sum;
    }
};

/// What the steps of many answers state, summed over an answer: mean and standard error.
template <class Decoder>
tq::value_estimate stated(Decoder&& decoder, std::size_t tokens, std::size_t answers) {
    const std::vector<token_list> prompts(answers, token_list{0});
    auto running = decoder.generate_all(prompts, tokens);
    while (!running.advance().empty()) {
    }
    std::vector<double> kl;
    for (std::size_t i = 0; i < answers; ++i) kl.push_back(running.kl(i));
    return tq::mean_estimate(kl);
}

/// Calls use(probability, sequence) for every sequence of `length` ends of blocks.
void each_sequence(const law& block, std::size_t length,
                   const std::function<void(double, const std::vector<node_id>&)>& use,
                   std::vector<node_id> so_far = {}, double p = 1) {
    if (so_far.size() == length) return use(p, so_far);
    for (const auto& [node, mass] : block) {
        std::vector<node_id> more = so_far;
        more.push_back(node);
        each_sequence(block, length, use, more, p * mass);
    }
}

}  // namespace

TEST_CASE("kl_of_best: bounds the best of n draws, and any other choice among them") {
    CHECK(tq::kl_of_best(1) == 0);
    const world_of_draws w;
    const law answers = w.blocks(tree::root(), 6);
    for (const std::size_t n : {1U, 2U, 8U, 64U}) {
        const double enumerated = divergence(w.best(answers, n), answers);
        CHECK(enumerated <= tq::kl_of_best(n) + 1e-12);
        CHECK(enumerated >= 0.8 * tq::kl_of_best(n) - 1e-12);  // 729 answers, nearly all unlike
    }
    // The rule that makes the most of two draws of two answers: the rarer one, if there is a choice.
    for (const double rare : {0.01, 0.1, 0.3, 0.5}) {
        const law two{{1, rare}, {2, 1 - rare}};
        const law chosen{{1, 1 - (1 - rare) * (1 - rare)}, {2, (1 - rare) * (1 - rare)}};
        CHECK(divergence(chosen, two) <= tq::kl_of_best(2));
    }
}

TEST_CASE("divergence: argmax blocks state that of the argmax, whatever alpha") {
    world_of_draws w;
    tq::direct_transfer prefix{w.policy, w.reward, {.horizon = 0}};
    for (const double alpha : {1e-12, 0.1, 1.0}) {
        tq::block_decoder decoder{
            w.policy,
            prefix,
            {.alpha = alpha, .block = 2, .candidates = 8, .select = tq::selection::argmax}};
        const tq::value_estimate kl = stated(decoder, 6, 20);
        CHECK(kl.q == Catch::Approx(3 * tq::kl_of_best(8)));  // three blocks
        const double enumerated = w.best_divergence(tree::root(), 2, 8);
        CHECK(kl.q >= enumerated);
        CHECK(enumerated > 0.5 * kl.q);  // 9 blocks: draws are often alike
    }
    tq::block_decoder cd = tq::blockwise_controlled_decoding(
        w.policy, w.reward, {.block = 3, .candidates = 4, .select = tq::selection::argmax});
    CHECK(stated(cd, 6, 20).q == Catch::Approx(2 * tq::kl_of_best(4)));
    tq::block_decoder best = tq::best_of_n(w.policy, w.reward, {.n = 8});
    CHECK(stated(best, 6, 20).q == Catch::Approx(tq::kl_of_best(8)));
    tq::speculative_rejection fast{w.policy, w.reward, {.candidates = 8, .block = 2}};
    CHECK(stated(fast, 6, 20).q == Catch::Approx(tq::kl_of_best(8)));
}

TEST_CASE("divergence: drawn blocks state a bound in the mean") {
    world_of_draws w;
    const law block = w.blocks(tree::root(), 2);
    tq::direct_transfer prefix{w.policy, w.reward, {.horizon = 0}};
    for (const double alpha : {0.05, 0.3, 2.0}) {
        law drawn;
        for (const auto& [node, p] : block) drawn[node] = 0;
        each_sequence(block, 3, [&](double p, const std::vector<node_id>& pool) {
            double sum = 0;
            for (const node_id node : pool) sum += std::exp(w.rewards[node] / alpha);
            for (const node_id node : pool)
                drawn[node] += p * std::exp(w.rewards[node] / alpha) / sum;
        });
        const double enumerated = divergence(drawn, block);
        tq::block_decoder decoder{w.policy, prefix, {.alpha = alpha, .block = 2, .candidates = 3}};
        const tq::value_estimate kl = stated(decoder, 2, 4000);
        CAPTURE(alpha, enumerated, kl.q, kl.standard_error);
        CHECK(kl.q >= enumerated - 4 * kl.standard_error);
        CHECK(kl.q <= std::log(3.0));
    }
}

TEST_CASE("divergence: segment rejection states log E[draws], or more if attempts run out") {
    world_of_draws w;
    constexpr double softness = 0.2, threshold = 0.9;
    const law block = w.blocks(tree::root(), 2);
    const auto accepted = [&](node_id node) {
        return std::min(1.0, std::exp((w.rewards[node] - threshold) / softness));
    };
    double acceptance = 0;
    for (const auto& [node, p] : block) acceptance += p * accepted(node);
    for (const std::size_t attempts : {1U, 2U, 3U, 1000U}) {
        law enumerated;
        for (const auto& [node, p] : block) {
            const double tries = static_cast<double>(attempts);
            enumerated[node] =
                p * accepted(node) * (1 - std::pow(1 - acceptance, tries)) / acceptance;
        }
        if (attempts <= 3)  // what is left of the mass goes to the best of those that were refused
            each_sequence(block, attempts, [&](double p, const std::vector<node_id>& pool) {
                for (const node_id node : pool) p *= 1 - accepted(node);
                enumerated[*std::ranges::max_element(
                    pool, {}, [&](node_id node) { return w.rewards[node]; })] += p;
            });
        tq::segment_rejection decoder{w.policy,
                                      w.reward,
                                      {.block = 2,
                                       .attempts = attempts,
                                       .target = threshold,
                                       .start = threshold,
                                       .softness = softness}};
        const tq::value_estimate kl = stated(decoder, 2, 4000);
        const double exact = divergence(enumerated, block);
        CAPTURE(attempts, acceptance, exact, kl.q, kl.standard_error);
        CHECK(kl.q >= exact - 4 * kl.standard_error - 1e-12);
        if (attempts == 1000) CHECK(std::abs(kl.q + std::log(acceptance)) <= 4 * kl.standard_error);
    }
}
