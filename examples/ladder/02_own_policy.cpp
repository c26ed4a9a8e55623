// Your own engine: anything with vocab_size() and next_logits(sequences) is a policy.

#include <cmath>
#include <cstdio>
#include <string>
#include <tq/tq.hpp>
#include <vector>

/// Letters after letters, counted in a text.
class letter_model {
public:
    explicit letter_model(const std::string& text) : logits_(128, std::vector<float>(128)) {
        std::vector<std::vector<float>> counts(128, std::vector<float>(128, 1e-6F));
        for (std::size_t i = 1; i < text.size(); ++i) counts[index(text[i - 1])][index(text[i])]++;
        for (std::size_t a = 0; a < 128; ++a)
            for (std::size_t b = 0; b < 128; ++b) logits_[a][b] = std::log(counts[a][b]);
    }

    std::size_t vocab_size() const { return 128; }

    /// One row of raw logits for what follows each sequence; rows stay valid until the next call.
    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> sequences) {
        rows_.clear();
        for (tq::token_view sequence : sequences)
            rows_.emplace_back(logits_[static_cast<std::size_t>(sequence.back())]);
        return rows_;
    }

private:
    static std::size_t index(char c) { return static_cast<unsigned char>(c) % 128; }
    std::vector<std::vector<float>> logits_;
    std::vector<tq::logits_view> rows_;
};

int main() {
    letter_model lm{"the cat sat on the mat and the dog ate the hat that the rat had"};
    auto likes_dogs = [](tq::token_view, tq::token_view answer) {
        double score = 0;
        for (tq::token_id letter : answer) score += letter == 'd' || letter == 'o' || letter == 'g';
        return score;
    };
    tq::direct_transfer q{lm, likes_dogs, {.horizon = 8}};
    for (double alpha : {1e9, 0.3}) {
        tq::decoder decode{lm, q, {.alpha = alpha, .top_k = 5}};
        std::printf(alpha > 1 ? "frozen: t" : "TQ*:    t");
        for (const tq::step& step : decode.generate(tq::token_list{'t'}, 30))
            std::putchar(step.token);
        std::puts("");
    }
}
