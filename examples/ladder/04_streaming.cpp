// Streaming: generate() is a range, a token is computed when you ask for it, and `break` cancels.

#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

int main() {
    enum : tq::token_id { once, stop = 4 };
    const char* word[] = {"once", "upon", "a", "time", "."};
    tq::tabular::bigram_model lm{
        {{0, 4, 0, 1, 0}, {0, 0, 4, 1, 0}, {1, 0, 0, 3, 0}, {2, 0, 0, 0, 2}, {3, 0, 2, 0, 0}}};
    auto brevity = [](tq::token_view, tq::token_view answer) {
        double stops = 0;
        for (tq::token_id token : answer) stops += token == stop;
        return stops;
    };
    std::size_t judged = 0;
    auto counting = [&](tq::token_view prompt, tq::token_view answer) {
        ++judged;
        return brevity(prompt, answer);
    };

    tq::direct_transfer q{lm, counting, {.horizon = 4}};
    tq::decoder decode{lm, q, {.alpha = 0.5, .top_k = 3}};
    auto answer = decode.generate(tq::token_list{once}, 1000);  // nothing is computed yet
    std::printf("before: %zu answers judged\n", judged);
    for (const tq::step& step : answer) {
        std::printf("%s ", word[step.token]);
        if (step.token == stop) break;  // the other 996 tokens are never computed
    }
    std::printf("\nafter:  %zu answers judged\n", judged);
}
