#include <algorithm>
#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    enum : tq::token_id { hi, rude, kind, bye };  // a language of four words; "bye" ends an answer
    const char* word[] = {"hi", "rude", "kind", "bye"};
    tq::tabular::bigram_model lm{{{0, 2, 1, 0}, {0, 1, 0, 2}, {0, 0, 1, 2}, {0, 0, 0, 9}}, {bye}};

    auto politeness = [](tq::token_view /*prompt*/, tq::token_view answer) {
        return double(std::ranges::count(answer, kind) - std::ranges::count(answer, rude));
    };
    // Q: what the futures of a baseline (here the model itself) are worth on average
    tq::direct_transfer q{
        lm, politeness, {.horizon = 4, .rollouts = 64, .sampling = {.temperature = 1}}};

    for (double alpha : {1e9, 0.5}) {  // alpha -> infinity is the frozen model itself
        tq::decoder decode{lm, q, {.alpha = alpha, .top_k = 4}};
        std::printf(alpha > 1 ? "frozen:" : "TQ*:   ");
        for (const tq::step& step : decode.generate(tq::token_list{hi}, 4))
            std::printf(" %s (Q %.1f +- %.1f)", word[step.token], step.distribution.q[step.choice],
                        step.distribution.q_error[step.choice]);
        std::puts("");
    }
}
