// transfer_lab: every transfer on worlds small enough to know the truth.
//
// A frozen policy, a target reward, and a baseline that was aligned to another reward: from the target
// itself to its opposite. Each method estimates Q in every state from sampled rollouts, the decoder
// tilts the policy by it, and enumeration says what that decoder is worth.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

namespace {

using namespace tq::tabular;

struct settings {
    std::uint64_t worlds = 20;
    std::size_t vocabulary = 3, depth = 4, rollouts = 16;
    double beta = 0.25;  // alpha too
};

double normal(tq::random_key key, std::uint64_t index) {
    return std::sqrt(-2 * std::log(key.uniform(2 * index))) *
           std::cos(2 * 3.14159265358979323846 * key.uniform(2 * index + 1));
}

struct world {
    tree nodes;
    log_policy policy, baseline, optimum;
    node_values reward, base_reward;

    world(const settings& lab, std::uint64_t number, double correlation)
        : nodes{lab.vocabulary, lab.depth},
          policy{random_policy(nodes, tq::random_key{number}.fold_in(0))},
          reward(nodes.size()),
          base_reward(nodes.size()) {
        const tq::random_key own = tq::random_key{number}.fold_in(1);
        const tq::random_key other = tq::random_key{number}.fold_in(2);
        const double rest = std::sqrt(1 - correlation * correlation);
        for (node_id node = 0; node < nodes.size(); ++node) {
            reward[node] = 0.5 * normal(own, node);
            base_reward[node] = correlation * reward[node] + rest * 0.5 * normal(other, node);
        }
        baseline = aligned(nodes, policy, base_reward, lab.beta);
        optimum = aligned(nodes, policy, reward, lab.beta);
    }
};

/// The sequence of a node, after a prompt of one token.
tq::token_list sequence_of(const tree& nodes, node_id node) {
    tq::token_list tokens;
    for (; node != tree::root(); node = nodes.parent(node)) tokens.push_back(nodes.token(node));
    tokens.push_back(0);
    std::ranges::reverse(tokens);
    return tokens;
}

/// Q-hat(s, z) at every node [s, z], and the mean share of effective rollouts behind them.
struct estimates {
    node_values q;
    double ess_share = 0, weighted = 0;
};

template <class Value>
estimates estimate(const world& w, Value&& value, std::uint64_t seed, std::size_t rollouts) {
    const std::size_t v = w.nodes.vocab_size();
    tq::token_list candidates;
    for (std::size_t z = 0; z < v; ++z) candidates.push_back(static_cast<tq::token_id>(z));
    estimates result{.q = node_values(w.nodes.size())};
    std::vector<tq::token_list> sequences;
    std::vector<std::vector<tq::value_estimate>> found;
    std::vector<node_id> states;
    for (node_id node = 0; node < w.nodes.size(); ++node)
        if (!w.nodes.is_leaf(node)) {
            states.push_back(node);
            sequences.push_back(sequence_of(w.nodes, node));
            found.emplace_back(v);
        }
    std::vector<tq::value_query> queries;
    for (std::size_t i = 0; i < states.size(); ++i)
        queries.push_back({{.sequence = sequences[i],
                            .prompt_size = 1,
                            .tokens_left = w.nodes.depth() - w.nodes.depth_of(states[i]),
                            .end_tokens = {},
                            .key = tq::random_key{seed}.fold_in(states[i])},
                           candidates,
                           found[i]});
    value.evaluate(queries);
    for (std::size_t i = 0; i < states.size(); ++i)
        for (std::size_t z = 0; z < v; ++z) {
            const tq::value_estimate& e = found[i][z];
            result.q[w.nodes.child(states[i], z)] = e.q;
            if (!e.weights || w.nodes.depth_of(states[i]) + 1 == w.nodes.depth()) continue;
            result.ess_share += e.weights->ess / static_cast<double>(rollouts);
            ++result.weighted;
        }
    return result;
}

/// One line of the table: sums over the worlds.
struct line {
    std::string name;
    double value = 0, kl = 0, objective = 0, gap = 0, squares = 0, compared = 0, ess = 0,
           weighted = 0;

    void decoder(const world& w, const log_policy& pi, double beta) {
        const double reward = expectation(w.nodes, pi, w.reward)[tree::root()];
        const double divergence = answer_kl(w.nodes, pi, w.policy);
        value += reward;
        kl += divergence;
        objective += reward - beta * divergence;
        gap += beta * answer_kl(w.nodes, pi, w.optimum);
    }

    /// The decoder that follows estimates of an exact Q.
    void follow(const world& w, const estimates& found, const node_values& exact, double beta) {
        decoder(w, tilted(w.nodes, w.policy, found.q, beta), beta);
        ess += found.ess_share;
        weighted += found.weighted;
        for (node_id node = 0; node < w.nodes.size(); ++node) {
            if (w.nodes.is_leaf(node)) continue;
            double mean = 0;  // only differences within a state matter
            const auto v = static_cast<double>(w.nodes.vocab_size());
            const auto error = [&](std::size_t z) {
                return found.q[w.nodes.child(node, z)] - exact[w.nodes.child(node, z)];
            };
            for (std::size_t z = 0; z < w.nodes.vocab_size(); ++z) mean += error(z) / v;
            for (std::size_t z = 0; z < w.nodes.vocab_size(); ++z) {
                squares += (error(z) - mean) * (error(z) - mean);
                ++compared;
            }
        }
    }

    void print(double worlds) const {
        fmt::print("{:<28} {:>7.3f} {:>7.3f} {:>10.3f} {:>8.3f} {:>9} {:>7}\n", name,
                   value / worlds, kl / worlds, objective / worlds, gap / worlds,
                   compared == 0 ? "-" : fmt::format("{:.3f}", std::sqrt(squares / compared)),
                   weighted == 0 ? "-" : fmt::format("{:.2f}", ess / weighted));
    }
};

/// All methods in the worlds of one correlation.
void run(const settings& lab, double correlation) {
    using enum tq::weighting;
    const std::pair<const char*, tq::weight_options> forms[] = {
        {"default rule", {}},
        {"self-normalised", {.form = self_normalised, .guard = false}},
        {"tempered", {.form = tempered}},
        {"clipped", {.form = clipped}},
        {"Pareto-smoothed", {.form = pareto_smoothed}},
        {"plain", {.form = plain}},
        {"reference", {.form = reference}}};
    std::vector<line> lines{{"the policy itself"},
                            {"the baseline itself"},
                            {"the optimum"},
                            {"controlled decoding"},
                            {"direct"}};
    for (const auto& [name, options] : forms) lines.push_back({std::string{"indirect, "} + name});
    lines.push_back({"indirect, policy mixed in"});
    lines.push_back({"soft, default rule"});
    lines.push_back({"soft, policy mixed in"});
    lines.push_back({"soft, exact Q"});
    const tq::rollout_options look{
        .horizon = lab.depth, .rollouts = lab.rollouts, .sampling = {.temperature = 1}};
    for (std::uint64_t number = 0; number < lab.worlds; ++number) {
        const world w{lab, number, correlation};
        tree_policy policy{w.nodes, w.policy}, baseline{w.nodes, w.baseline};
        const tree_reward reward{w.nodes, w.reward}, base_reward{w.nodes, w.base_reward};
        auto row = lines.begin();
        const auto follow = [&](auto&& value, const node_values& exact) {
            row++->follow(w, estimate(w, value, number, lab.rollouts), exact, lab.beta);
        };
        for (const log_policy* pi : {&w.policy, &w.baseline, &w.optimum})
            row++->decoder(w, *pi, lab.beta);
        follow(tq::direct_transfer{policy, reward, look}, expectation(w.nodes, w.policy, w.reward));
        follow(tq::direct_transfer{baseline, reward, look},
               expectation(w.nodes, w.baseline, w.reward));
        const node_values indirect = expectation(w.nodes, w.optimum, w.reward);
        tq::implicit_weights weights{policy, {.beta = lab.beta}};
        for (const auto& [name, options] : forms)
            if (options.form == reference)
                follow(tq::indirect_transfer{baseline, reward, tq::reference_weights{base_reward},
                                             look, options},
                       indirect);
            else
                follow(tq::indirect_transfer{baseline, reward, weights, look, options}, indirect);
        tq::mixture mixed{tq::component{baseline, 1}, tq::component{policy, 1}};
        follow(tq::indirect_transfer{mixed, reward, weights, look}, indirect);
        const node_values soft = soft_value(w.nodes, w.policy, w.reward, lab.beta);
        follow(tq::soft_transfer{baseline, reward, weights, look}, soft);
        follow(tq::soft_transfer{mixed, reward, weights, look}, soft);
        row->decoder(w, tilted(w.nodes, w.policy, soft, lab.beta), lab.beta);
    }
    fmt::print("\nthe baseline's reward has correlation {:.1f} with the target\n\n", correlation);
    fmt::print("{:<28} {:>7} {:>7} {:>10} {:>8} {:>9} {:>7}\n", "method", "value", "KL",
               "objective", "gap", "Q error", "ESS/n");
    for (const line& l : lines) l.print(static_cast<double>(lab.worlds));
    if (!(lines.back().gap < 1e-9))
        throw tq::backend_error{"soft transfer with exact values is not the optimum"};
}

}  // namespace

int main(int argc, char** argv) {
    settings lab;
    CLI::App app{"Direct, indirect and soft transfer on tabular worlds, against enumeration"};
    app.add_option("--worlds", lab.worlds, "random worlds that are averaged over")
        ->capture_default_str()
        ->check(CLI::Range(1, 100'000));
    app.add_option("--rollouts", lab.rollouts, "rollouts per candidate")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000'000));
    app.add_option("--beta", lab.beta, "strength of the regularisation; alpha too")
        ->capture_default_str()
        ->check(CLI::Range(0.01, 100.0));
    CLI11_PARSE(app, argc, argv);
    try {
        fmt::print(
            "{} worlds of {} tokens and {} steps, {} rollouts per candidate, alpha = beta = {}\n",
            lab.worlds, lab.vocabulary, lab.depth, lab.rollouts, lab.beta);
        for (const double correlation : {1.0, 0.5, 0.0, -0.5, -1.0}) run(lab, correlation);
    } catch (const std::exception& error) {
        fmt::print(stderr, "transfer_lab: {}\n", error.what());
        return 1;
    }
}
