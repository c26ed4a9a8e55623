// Soft transfer: with alpha = beta the decoder is the optimum of E[reward] - beta KL itself.

#include <cmath>
#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    using namespace tq::tabular;
    const tree world{3, 4};  // all answers of four tokens from three
    node_values weights(world.size()), rewards(world.size());
    for (node_id node = 1; node < world.size(); ++node) {
        weights[node] = std::sin(double(node));
        rewards[node] = std::cos(0.7 * double(node));  // only those of the leaves count
    }
    const log_policy pi = normalise(world, weights);
    constexpr double beta = 0.3;
    const log_policy optimum = aligned(world, pi, rewards, beta);  // by enumeration

    tree_policy policy{world, pi}, baseline{world, optimum};
    tree_reward reward{world, rewards};
    const tq::rollout_options look{.horizon = 4, .rollouts = 4, .sampling = {.temperature = 1}};
    tq::implicit_weights ratio{policy, {.beta = beta}};
    tq::soft_transfer soft{baseline, reward, ratio, look};
    tq::direct_transfer direct{baseline, reward, look};

    const tq::token_list prompt{0};
    const auto show = [&](const char* name, auto& q) {
        tq::decoder decode{policy, q, {.alpha = beta, .top_k = 3}};
        const tq::step first = *decode.generate(prompt, 4).begin();
        std::printf("%s", name);
        for (tq::token_id token = 0; token < 3; ++token)
            for (std::size_t i = 0; i < 3; ++i)
                if (first.distribution.tokens[i] == token)
                    std::printf(" %.3f", std::exp(first.distribution.log_p[i]));
        std::puts("");
    };
    std::printf("optimum");
    for (std::size_t z = 0; z < 3; ++z)
        std::printf(" %.3f", std::exp(optimum[world.child(world.root(), z)]));
    std::puts("");
    show("soft   ", soft);    // exact with four rollouts: the baseline is the optimum
    show("direct ", direct);  // another law, of more reward at more divergence
}
