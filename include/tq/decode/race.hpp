#pragma once
// The race: find the token without the rollouts that cannot change it.
//
// Sampling from p(z) ∝ prior(z) exp(Q(z) / alpha) is the argmax of
//
//     score(z) = base(z) + Q(z) / alpha,   base(z) = log prior(z) + g(z)
//
// with Gumbel noise g fixed per step and token (zero when the mode is wanted). Q(z) is the mean of n
// fixed rollouts, so with rewards in [lo, hi], m of them done and their sum S,
//
//     (S + (n - m) lo) / n  <=  Q(z)  <=  (S + (n - m) hi) / n.
//
// A candidate whose upper bound is below another's lower bound cannot win: it is dropped with no
// rollout more, and the token is provably the one that all rollouts would have given.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../core/random.hpp"
#include "options.hpp"
#include "selection.hpp"
#include "step.hpp"

namespace tq {

namespace detail {

/// One candidate in the race.
struct contender {
    std::size_t index = 0;           // in the distribution
    double base = 0;                 // log prior + g
    bool done = false;               // its Q is known
    double lowest = 0, highest = 0;  // bounds of its score; equal once done
};

/// The race of one state.
class race_lane {
public:
    race_lane(const tilted_distribution& distribution, const decode_options& options,
              random_key key, reward_range range)
        : alpha_{options.alpha} {
        for (std::size_t i = 0; i < distribution.size(); ++i) {
            const double base = distribution.log_prior[i] +
                                selection_noise(options.select, key, distribution.tokens[i]);
            field_.push_back({.index = i,
                              .base = base,
                              .lowest = base + tilt_of(range.lo),
                              .highest = base + tilt_of(range.hi)});
        }
        drop();
        // Best prospects first; they keep this order.
        std::stable_sort(field_.begin(), field_.end(),
                         [](const contender& a, const contender& b) { return a.base > b.base; });
    }

    /// The contenders whose Q is wanted next: the best prospects, twice as many each round. None if
    /// the token is decided.
    [[nodiscard]] std::vector<contender*> next_round() {
        std::vector<contender*> round;
        if (field_.size() == 1) return round;
        for (contender& c : field_)
            if (!c.done && round.size() < width_) round.push_back(&c);
        width_ *= 2;
        return round;
    }

    void set_q(contender& c, double q) const {
        c.done = true;
        c.lowest = c.highest = c.base + tilt_of(q);
    }

    /// Those that cannot win any more leave. Ties stay: the winner's rule decides them.
    void drop() {
        double bar = -std::numeric_limits<double>::infinity();
        for (const contender& c : field_) bar = std::max(bar, c.lowest);
        std::erase_if(field_, [&](const contender& c) { return c.highest < bar; });
    }

    /// Index of the winner in the distribution; ties go to the candidate that comes first.
    [[nodiscard]] std::size_t winner() const {
        return std::min_element(field_.begin(), field_.end(),
                                [](const contender& a, const contender& b) {
                                    return a.lowest > b.lowest ||
                                           (a.lowest == b.lowest && a.index < b.index);
                                })
            ->index;
    }

private:
    [[nodiscard]] double tilt_of(double q) const noexcept {
        return std::isinf(alpha_) ? 0.0 : q / alpha_;  // not inf / inf
    }

    double alpha_;
    std::vector<contender> field_;  // those that can still win
    std::size_t width_ = 1;
};

}  // namespace detail

/// Races the candidates of many states at once and returns the index of each winner. A round of
/// every state shares one call of the value. Fills q, q_error and rollouts of what was evaluated.
/// Throws backend_error if a Q is NaN, and whatever the value throws.
template <sampled_value Value>
[[nodiscard]] std::vector<std::size_t> run_race(Value& value, const decode_options& options,
                                                std::span<const decode_state> states,
                                                std::span<tilted_distribution> distributions) {
    std::vector<detail::race_lane> lanes;
    for (std::size_t i = 0; i < states.size(); ++i)
        lanes.emplace_back(distributions[i], options, states[i].key, value.range());

    for (;;) {
        struct entry {
            std::size_t lane;
            detail::contender* runner;
        };
        std::vector<entry> round;
        for (std::size_t i = 0; i < lanes.size(); ++i)
            for (detail::contender* runner : lanes[i].next_round()) round.push_back({i, runner});
        if (round.empty()) break;

        std::vector<std::vector<double>> rewards;
        std::vector<rollout_query> queries;
        for (const auto& [lane, runner] : round) {
            const token_id token = distributions[lane].tokens[runner->index];
            rewards.emplace_back(value.rollouts(states[lane], token));
            queries.push_back({states[lane], token, 0, rewards.back()});
        }
        value.sample(queries);
        for (std::size_t i = 0; i < round.size(); ++i) {
            const auto& [lane, runner] = round[i];
            const value_estimate estimate =
                value.combine(queries[i].state, queries[i].candidate, queries[i].rewards);
            distributions[lane].set(runner->index, estimate);
            lanes[lane].set_q(*runner, estimate.q);
        }
        for (detail::race_lane& lane : lanes) lane.drop();
    }

    std::vector<std::size_t> winners;
    for (const detail::race_lane& lane : lanes) winners.push_back(lane.winner());
    return winners;
}

}  // namespace tq
