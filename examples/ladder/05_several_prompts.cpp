// Several prompts advance together, in the same model calls; each gets the answer it would get alone.

#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

/// A policy that counts its calls.
struct counting_model : tq::tabular::bigram_model {
    using bigram_model::bigram_model;
    std::size_t calls = 0;
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> sequences) {
        ++calls;
        return bigram_model::next_logits(sequences);
    }
};

int main() {
    counting_model lm{{{0, 2, 1, 0}, {1, 0, 2, 0}, {0, 1, 0, 2}, {2, 0, 1, 0}}};
    auto threes = [](tq::token_view, tq::token_view answer) {
        double count = 0;
        for (tq::token_id token : answer) count += token == 3;
        return count;
    };
    tq::direct_transfer q{lm, threes, {.horizon = 3, .reuse = false}};
    tq::decoder decode{lm, q, {.alpha = 0.5, .top_k = 3}};
    const std::vector<tq::token_list> prompts{{0}, {1, 2}, {3}};

    auto answers = decode.generate_all(prompts, 6);
    while (!answers.advance().empty()) {
    }
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        for (tq::token_id token : answers.answer(i)) std::printf("%d ", token);
        std::printf(" cost %zu model tokens\n", answers.spent(i).total());
    }
    std::printf("together: %zu model calls\n", lm.calls);

    lm.calls = 0;
    bool same = true;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        std::size_t position = 0;
        for (const tq::step& step : decode.generate(prompts[i], 6, i))
            same = same && step.token == answers.answer(i)[position++];
    }
    std::printf("alone:    %zu model calls, %s\n", lm.calls,
                same ? "the same answers" : "other answers");
}
