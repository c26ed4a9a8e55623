// Your own estimator: what the futures of a candidate are worth is yours to say. This one is cautious.

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <tq/tabular/tabular.hpp>
#include <tq/tq.hpp>
#include <vector>

/// The mean of the worst quarter of the futures (the conditional value at risk).
struct worst_quarter {
    tq::value_estimate estimate(std::span<const double> rewards, std::span<const double>) const {
        std::vector<double> worst(rewards.begin(), rewards.end());
        std::ranges::sort(worst);
        worst.resize((worst.size() + 3) / 4);
        tq::value_estimate result = tq::mean_estimate(worst);
        result.rollouts = rewards.size();
        return result;
    }
    tq::reward_range range(tq::reward_range rewards) const { return rewards; }
};

int main() {
    enum : tq::token_id { start, safe, bold, win, lose, even };
    const char* word[] = {"start", "safe", "bold", "win", "lose", "even"};
    // "bold" wins three times out of four, "safe" ends even.
    const float never = -1e9F, likely = 1.0986F;  // log 3
    tq::tabular::bigram_model lm{{{never, 0, 0, never, never, never},
                                  {never, never, never, never, never, 0},
                                  {never, never, never, likely, 0, never},
                                  {never, never, never, 0, never, never},
                                  {never, never, never, never, 0, never},
                                  {never, never, never, never, never, 0}}};
    auto gain = [](tq::token_view, tq::token_view answer) {
        return double(std::ranges::count(answer, win)) - double(std::ranges::count(answer, lose));
    };
    const tq::rollout_options look{.horizon = 1, .rollouts = 400, .sampling = {.temperature = 1}};

    const auto show = [&](const char* name, auto q) {
        tq::decoder decode{lm, q, {.alpha = 0.1, .top_k = 2, .select = tq::selection::argmax}};
        const tq::step first = *decode.generate(tq::token_list{start}, 2).begin();
        const tq::tilted_distribution& d = first.distribution;
        std::printf("%-8s picks %s:", name, word[first.token]);
        for (std::size_t i = 0; i < d.size(); ++i)
            std::printf(" Q(%s) = %.2f +- %.2f", word[d.tokens[i]], d.q[i], d.q_error[i]);
        std::puts("");
    };
    show("mean", tq::transfer{lm, gain, tq::mean{}, look});
    show("cautious", tq::transfer{lm, gain, worst_quarter{}, look});
}
