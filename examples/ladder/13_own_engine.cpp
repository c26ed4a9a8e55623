// Your own engine, whole: attention with a KV cache, errors, cancellation, threads, the random key.

#include <array>
#include <cmath>
#include <cstdio>
#include <deque>
#include <numeric>
#include <stop_token>
#include <string>
#include <thread>
#include <tq/tq.hpp>
#include <vector>

constexpr std::size_t words = 24, width = 8, context = 32;

/// Weights: read only, so threads share them. Keyed numbers are the same on every machine.
float weight(std::uint64_t matrix, std::size_t word, std::size_t i) {
    return float(4 * tq::random_key{6}.fold_in(matrix).fold_in(word).uniform(i) - 2);
}

/// One object per thread.
class toy_engine {
public:
    explicit toy_engine(std::stop_token stop) : stop_{std::move(stop)} {}
    std::size_t vocab_size() const { return words; }
    std::size_t cached() const { return 100 - 100 * decoded_ / read_; }  // per cent of what it read

    std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> sequences) {
        rows_.clear();
        if (cells_.size() > 10'000) cells_.clear(), first_ = {};  // never within a call
        for (const tq::token_view sequence : sequences) {
            if (stop_.stop_requested()) throw tq::backend_error{"toy_engine: cancelled"};
            if (sequence.size() > context) throw tq::backend_error{"toy_engine: context full", 7};
            read_ += sequence.size();
            cell* last = nullptr;
            for (const tq::token_id token : sequence) last = &after(last, std::size_t(token));
            rows_.emplace_back(last->logits);
        }
        return rows_;  // views, until the next call
    }

private:
    /// What the cache keeps of a token behind all those before it: a tree of prefixes.
    struct cell {
        cell* before = nullptr;
        std::array<cell*, words> next{};
        std::array<float, width> value{};
        std::array<float, words> logits{};
    };

    cell& after(cell* before, std::size_t token) {
        cell*& here = (before == nullptr ? first_ : before->next)[token];
        if (here != nullptr) return *here;
        ++decoded_;
        here = &cells_.emplace_back();
        here->before = before;
        for (std::size_t i = 0; i < width; ++i) here->value[i] = weight(0, token, i);
        for (const cell* c = here; c != nullptr; c = c->before) {  // attends to what is cached
            float attention = 0;
            for (std::size_t i = 0; i < width; ++i) attention += weight(1, token, i) * c->value[i];
            attention = 1 / (1 + std::exp(-attention));
            for (std::size_t w = 0; w < words; ++w)
                for (std::size_t i = 0; i < width; ++i)
                    here->logits[w] += attention / 2 * weight(2, w, i) * c->value[i];
        }
        return *here;
    }

    std::stop_token stop_;
    std::deque<cell> cells_;  // addresses stay
    std::array<cell*, words> first_{};
    std::vector<tq::logits_view> rows_;
    std::size_t read_ = 0, decoded_ = 0;
};

/// `index` is the prompt's part of every random number's key: the same index, the same answer.
std::string answer(std::size_t index, std::size_t tokens, std::size_t stop_at = context) {
    std::stop_source stop;  // another thread may have it
    toy_engine engine{stop.get_token()};
    const auto low = [](tq::token_view, tq::token_view said) {  // small numbers please
        return -std::accumulate(said.begin(), said.end(), 0.0) / double(context);
    };
    tq::direct_transfer q{engine, low, {.horizon = 6}};
    tq::decoder decode{engine, q, {.alpha = 0.3, .top_k = 6, .seed = 1}};
    auto stream = decode.generate(tq::token_list{1, 2}, tokens, index);
    std::string said, end = "done";
    try {
        for (const tq::step& step : stream) {
            said += std::to_string(step.token) + " ";
            if (step.position + 1 == stop_at) stop.request_stop();
        }
    } catch (const tq::backend_error& error) {  // stream.answer() stays, and could go on
        end = error.what() + (", code " + std::to_string(error.code()));
    }
    return said + "(" + end + "; " + std::to_string(engine.cached()) + " % were in the cache)";
}

int main() {
    std::array<std::string, 3> answers;
    {
        std::vector<std::jthread> threads;  // each with its own engine, value and decoder
        for (std::size_t i = 0; i < answers.size(); ++i)
            threads.emplace_back([&, i] { answers[i] = answer(i, 10); });
    }
    for (std::size_t i = 0; i < answers.size(); ++i)
        std::printf("%s %s\n",
                    answers[i] == answer(i, 10) ? "as alone:" : "differs:", answers[i].c_str());
    std::puts(answer(0, 100).c_str());
    std::puts(answer(0, 100, 5).c_str());
}
