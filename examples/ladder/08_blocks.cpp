// Block decoding: candidates are blocks of tokens, from single tokens up to best-of-n.

#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

int main() {
    enum : tq::token_id { red, green, blue };
    tq::tabular::bigram_model lm{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
    auto changes = [](tq::token_view, tq::token_view answer) {
        double count = 0;
        for (std::size_t i = 1; i < answer.size(); ++i) count += answer[i] != answer[i - 1];
        return count;
    };
    tq::direct_transfer q{lm, changes, {.horizon = 12}};
    const std::vector<tq::token_list> prompts{{red}};

    for (std::size_t block : {std::size_t{1}, std::size_t{4}, tq::whole_answer}) {
        tq::block_decoder decode{
            lm, q, {.block = block, .candidates = 8, .select = tq::selection::argmax}};
        auto answer = decode.generate_all(prompts, 12);
        std::size_t decisions = 0;
        while (!answer.advance().empty()) ++decisions;
        for (tq::token_id token : answer.answer(0)) std::putchar("rgb"[token]);
        std::printf("  %2zu decision(s), %zu model tokens, reward %.0f\n", decisions,
                    answer.spent().total(), changes(prompts[0], answer.answer(0)));
    }
}
