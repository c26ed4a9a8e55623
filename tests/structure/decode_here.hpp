#pragma once
// What both translation units do with tq: a small decode from a row of 1,000 logits, so that the
// vector kernels run.
#include <tq/tq.hpp>

#include <vector>

namespace {

/// Tokens and Q values of four steps.
struct decoded {
    std::vector<tq::token_id> tokens;
    std::vector<double> q;
};

struct wavy_policy {
    [[nodiscard]] int vocab_size() const { return 1000; }  // any integer will do
    std::vector<std::vector<float>> rows;
    std::vector<tq::logits_view> views;

    const std::vector<tq::logits_view>& next_logits(std::span<const tq::token_view> sequences) {
        rows.clear();
        for (const tq::token_view sequence : sequences) {
            std::vector<float> row(1000);
            for (std::size_t i = 0; i < row.size(); ++i)
                row[i] = static_cast<float>((i * 7919 + sequence.size() * 104729) % 1009) / 100;
            rows.push_back(std::move(row));
        }
        views.assign(rows.begin(), rows.end());
        return views;
    }
};

inline decoded decode_here() {
    wavy_policy lm;
    auto reward = [](tq::token_view, tq::token_view answer) {
        double sum = 0;
        for (const tq::token_id token : answer) sum += token % 17;
        return sum;
    };
    tq::direct_transfer q{
        lm, reward, {.horizon = 3, .rollouts = 4, .sampling = {.temperature = 1}}};
    tq::decoder decode{lm, q, {.alpha = 5, .top_k = 8, .end_tokens = tq::token_list{}}};
    decoded result;
    for (const tq::step& step : decode.generate(tq::token_list{1}, 4)) {
        result.tokens.push_back(step.token);
        result.q.insert(result.q.end(), step.distribution.q.begin(), step.distribution.q.end());
    }
    return result;
}

}  // namespace
