// Transfer Q* as the paper writes it (Algorithm 1 of arXiv 2405.20495); tq gives the same tokens.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>

using tokens = std::vector<size_t>;
using row = std::vector<double>;  // [V] logits of the next token, or scores
size_t argmax(const row& x) { return size_t(std::ranges::max_element(x) - x.begin()); }

struct transfer_q_star {  // s = [x, y]: the prompt, and the answer so far
    std::function<row(const tokens&)> policy, baseline;
    std::function<double(const tokens&)> reward;
    std::function<double(const tokens& s, size_t z)> gumbel;  // noise of the choice; 0 = the mode
    std::function<size_t(const row&, const tokens& s, size_t z, size_t i, size_t place)> draw;
    double alpha = 1;
    size_t top_k = 2, rollouts = 1, horizon = 8, end = 0;
    tokens generate(tokens s, size_t max_tokens) const {
        for (size_t z; max_tokens > 0; --max_tokens, s.push_back(z))
            if ((z = argmax(scores(s, max_tokens))) == end) break;
        return s;
    }
    // log p(z|s) + g(z) up to a constant; p(z|s) ~ pi_SFT(z|s) exp(Q(s, z) / alpha) on the top_k.
    row scores(const tokens& s, size_t tokens_left) const {
        row logits = policy(s), result(logits.size(), -INFINITY);
        for (size_t k = 0, z = 0; k < top_k && logits[z = argmax(logits)] > -INFINITY; ++k) {
            result[z] = logits[z] + q(s, z, tokens_left) / alpha + gumbel(s, z);
            logits[z] = -INFINITY;
        }
        return result;
    }
    // Q(s, z): the mean reward of what the baseline makes of s and z.
    double q(const tokens& s, size_t z, size_t tokens_left) const {
        double sum = 0;
        for (size_t i = 0; i < rollouts; ++i) {
            tokens u = s;
            for (size_t next = z, left = std::min(tokens_left, horizon + 1); next != end; --left) {
                u.push_back(next);
                if (left == 1) break;
                next = draw(baseline(u), s, z, i, u.size());
            }
            sum += reward(u);
        }
        return sum / double(rollouts);
    }
};

int main() {  // the policy likes cats, the reward likes whoever barks
    const char* words[] = {".", "cats", "dogs", "purr", "bark"};
    const std::vector<row> likes{{0, 3, 2, 0, 0}, {0, 0, 0, 5, 0}, {0, 0, 0, 0, 5}};
    const auto model = [&](const tokens& s) { return likes[s.back()]; };
    const auto barks = [](const tokens& s) { return double(s.back() == 4); };
    const auto greedy = [](const row& logits, auto...) { return argmax(logits); };
    for (const double alpha : {double{INFINITY}, 0.5}) {
        const transfer_q_star now{model, model, barks, [](auto...) { return 0.0; }, greedy, alpha};
        const tokens s = now.generate({0}, 2);
        std::printf("alpha = %3g: %s %s\n", alpha, words[s[1]], words[s[2]]);
    }
}
