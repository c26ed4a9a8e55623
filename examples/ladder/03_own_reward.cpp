// Your own reward: a batch at a time, and with a stated range, so that a race can stop early.

#include <cstdio>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>

/// The share of even tokens, in [0, 1].
struct evenness {
    tq::reward_range range() const { return {0, 1}; }

    void score(std::span<const tq::answer_view> answers, std::span<double> values) {
        for (std::size_t i = 0; i < answers.size(); ++i) {
            double even = 0;
            for (tq::token_id token : answers[i].answer) even += token % 2 == 0;
            values[i] = answers[i].answer.empty() ? 0 : even / double(answers[i].answer.size());
        }
    }
};

int main() {
    // The likeliest token is the next odd one.
    std::vector<std::vector<float>> table(16, std::vector<float>(16));
    for (std::size_t a = 0; a < 16; ++a)
        for (std::size_t b = 0; b < 16; ++b)
            table[a][b] = b % 2 == 1 ? -0.4F * float((b + 16 - a) % 16) : -1.5F - 0.1F * float(b);
    tq::tabular::bigram_model lm{table};

    for (tq::race_mode race : {tq::race_mode::exhaustive, tq::race_mode::exact}) {
        tq::direct_transfer q{
            lm, evenness{}, {.horizon = 6, .rollouts = 16, .sampling = {.temperature = 1}}};
        tq::decoder decode{lm, q, {.alpha = 0.1, .top_k = 16, .race = race}};
        std::size_t cost = 0;
        std::printf(race == tq::race_mode::exact ? "exact:     " : "exhaustive:");
        for (const tq::step& step : decode.generate(tq::token_list{1}, 8)) {
            std::printf(" %d", step.token);
            cost += step.spent.total();
        }
        std::printf("  (%zu model tokens)\n", cost);
    }
}
