#pragma once
// A model or reward that adds up the time spent inside it, and that a signal stops between two calls.

#include <chrono>
#include <cstddef>
#include <span>
#include <tq/tq.hpp>

#include "interrupt.hpp"

[[nodiscard]] inline double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

template <class Model>
struct timed {
    Model& model;
    double seconds = 0;

    [[nodiscard]] std::size_t vocab_size() const { return model.vocab_size(); }
    [[nodiscard]] tq::token_view end_tokens() const { return model.end_tokens(); }
    [[nodiscard]] std::size_t max_batch() const { return model.max_batch(); }
    [[nodiscard]] const auto& source() const { return model.source(); }
    [[nodiscard]] tq::reward_range range() const { return model.range(); }
    [[nodiscard]] std::span<const tq::logits_view> next_logits(std::span<const tq::token_view> s) {
        return clocked([&] { return model.next_logits(s); });
    }
    void score(std::span<const tq::answer_view> answers, std::span<double> values) {
        clocked([&] { model.score(answers, values); });
    }

private:
    template <class Call>
    auto clocked(Call call) {
        interrupt::check();
        struct timer {
            double& seconds;
            std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
            ~timer() { seconds += seconds_since(start); }
        } running{seconds};
        return call();
    }
};
