// Indirect and soft transfer: the baseline was aligned to something else.

#include <algorithm>
#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    enum : tq::token_id { hi, rude, kind, bye };
    const char* word[] = {"hi", "rude", "kind", "bye"};
    tq::tabular::bigram_model lm{{{0, 2, 1, 0}, {0, 1, 0, 2}, {0, 0, 1, 2}, {0, 0, 0, 9}}, {bye}};
    // Aligned to brevity: it says "bye" early, whatever came before.
    tq::tabular::bigram_model terse{{{0, 2, 1, 2}, {0, 1, 0, 4}, {0, 0, 1, 4}, {0, 0, 0, 9}},
                                    {bye}};
    auto politeness = [](tq::token_view /*prompt*/, tq::token_view answer) {
        return double(std::ranges::count(answer, kind) - std::ranges::count(answer, rude));
    };
    const tq::rollout_options look{.horizon = 3, .rollouts = 256, .sampling = {.temperature = 1}};

    tq::direct_transfer direct{terse, politeness, look};
    tq::implicit_weights weights{lm, {.beta = 1}};  // log rho_pi - log rho_BL + r / beta
    tq::mixture both{tq::component{terse, 1}, tq::component{lm, 1}};  // the policy defends it
    tq::indirect_transfer indirect{both, politeness, weights, look};
    tq::soft_transfer soft{both, politeness, weights, look};

    const tq::token_list prompt{hi};
    const auto show = [&](const char* name, auto& q) {
        tq::decoder decode{lm, q, {.alpha = 1, .top_k = 4}};
        const tq::step first = *decode.generate(prompt, 4).begin();
        const tq::tilted_distribution& d = first.distribution;
        std::printf("%-9s", name);
        for (std::size_t i = 0; i < d.size(); ++i)
            std::printf(" %s %.2f +- %.2f%s", word[d.tokens[i]], d.q[i], d.q_error[i],
                        i + 1 < d.size() ? "," : "");
        if (!d.weights.empty() && d.weights[0])
            std::printf("  (%.0f of 256 rollouts count)", d.weights[0]->ess);
        std::puts("");
    };
    show("direct", direct);      // what the terse model's answers are worth
    show("indirect", indirect);  // what those of the optimum at beta = 1 are worth
    show("soft", soft);          // with alpha = beta, decodes that optimum itself
}
