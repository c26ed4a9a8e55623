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
// rollout more, and the token is provably the one that all rollouts would have given (race_mode::
// exact). The other modes trade that proof for a stated error or a stated budget.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../core/random.hpp"
#include "../estimate/interval.hpp"
#include "../estimate/mean.hpp"
#include "options.hpp"
#include "selection.hpp"
#include "step.hpp"

namespace tq {

namespace detail {

/// One candidate in the race.
struct contender {
    std::size_t index = 0;  // in the distribution
    token_id token = 0;
    double base = 0;                 // log prior + g
    double lowest = 0, highest = 0;  // bounds of its score
    double score = 0;                // with the mean of its rewards; once it has any
    std::size_t total = 0;           // n, the rollouts of its Q; 0 = not asked yet
    std::vector<double> rewards{};   // those done

    [[nodiscard]] bool done() const noexcept { return total > 0 && rewards.size() == total; }
    [[nodiscard]] std::size_t missing() const noexcept { return total - rewards.size(); }
};

/// A contender and how many more rollouts it gets in this round.
struct race_entry {
    contender* runner;
    std::size_t count;
};

/// The race of one state.
class race_lane {
public:
    race_lane(const tilted_distribution& distribution, const decode_options& options,
              random_key key, reward_range range)
        : options_{&options},
          range_{range} {
        for (std::size_t i = 0; i < distribution.size(); ++i) {
            const token_id token = distribution.tokens[i];
            const double base =
                distribution.log_prior[i] + selection_noise(options.select, key, token);
            field_.push_back({.index = i,
                              .token = token,
                              .base = base,
                              .lowest = base + tilt_of(range.lo),
                              .highest = base + tilt_of(range.hi)});
        }
        drop_hopeless();
        // Best prospects first; they keep this order.
        std::stable_sort(field_.begin(), field_.end(),
                         [](const contender& a, const contender& b) { return a.base > b.base; });
        starters_ = width_ = field_.size();
        if (options.race == race_mode::exact) width_ = 1;
    }

    [[nodiscard]] std::vector<contender>& field() noexcept { return field_; }

    /// Who runs next, and how far. Nobody if the token is decided.
    [[nodiscard]] std::vector<race_entry> next_round() {
        std::vector<race_entry> round;
        if (field_.size() == 1) return round;
        for (contender& c : field_) {
            if (round.size() == width_) break;
            if (const std::size_t count = share_of(c); count > 0) round.push_back({&c, count});
        }
        if (options_->race == race_mode::exact) width_ *= 2;
        ++rounds_;
        return round;
    }

    /// Takes in the rewards of a round: those that are out of the race leave.
    void settle() {
        for (contender& c : field_)
            if (!c.rewards.empty()) bound(c);
        if (options_->race == race_mode::halving)
            drop_worse_half();
        else
            drop_hopeless();
    }

    /// Index of the winner in the distribution; ties go to the candidate that comes first.
    [[nodiscard]] std::size_t winner() const {
        return std::min_element(field_.begin(), field_.end(), better)->index;
    }

private:
    static bool better(const contender& a, const contender& b) noexcept {
        return a.score > b.score || (a.score == b.score && a.index < b.index);
    }

    [[nodiscard]] double tilt_of(double q) const noexcept {
        return std::isinf(options_->alpha) ? 0.0 : q / options_->alpha;  // not inf / inf
    }

    /// Rollouts that a contender gets in the present round.
    [[nodiscard]] std::size_t share_of(const contender& c) const {
        switch (options_->race) {
            case race_mode::confident:
                return std::min(c.missing(), std::max<std::size_t>(2, c.rewards.size()));
            case race_mode::halving: {
                const std::size_t rounds = std::max<std::size_t>(1, log2_up(starters_));
                if (rounds_ >= rounds) return 0;
                const std::size_t share = options_->race_budget / rounds / field_.size();
                return std::min(c.missing(), std::max<std::size_t>(1, share));
            }
            default:
                return c.missing();
        }
    }

    [[nodiscard]] static std::size_t log2_up(std::size_t n) noexcept {
        std::size_t result = 0;
        while ((std::size_t{1} << result) < n) ++result;
        return result;
    }

    void bound(contender& c) const {
        const double mean = mean_estimate(c.rewards).q;
        c.score = c.base + tilt_of(mean);
        mean_interval q{mean, mean};
        if (options_->race == race_mode::confident && c.total > 1)
            q = betting_interval(c.rewards, range_,
                                 options_->race_error / static_cast<double>(starters_));
        c.lowest = c.base + tilt_of(q.lo);
        c.highest = c.base + tilt_of(q.hi);
    }

    /// Those that cannot win any more leave. Ties stay: the winner's rule decides them.
    void drop_hopeless() {
        double bar = -std::numeric_limits<double>::infinity();
        for (const contender& c : field_) bar = std::max(bar, c.lowest);
        std::erase_if(field_, [&](const contender& c) { return c.highest < bar; });
    }

    void drop_worse_half() {
        std::stable_sort(field_.begin(), field_.end(), better);
        field_.resize((field_.size() + 1) / 2);
    }

    const decode_options* options_;
    reward_range range_;
    std::vector<contender> field_;  // those that can still win
    std::size_t starters_ = 0;      // how many there were before the first round
    std::size_t width_ = 0;         // how many run in a round at most
    std::size_t rounds_ = 0;
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
    for (std::size_t i = 0; i < states.size(); ++i) {
        lanes.emplace_back(distributions[i], options, states[i].key, value.range());
        for (detail::contender& c : lanes[i].field()) c.total = value.rollouts(states[i], c.token);
    }

    for (;;) {
        std::vector<std::vector<double>> rewards;
        std::vector<rollout_query> queries;
        std::vector<std::pair<std::size_t, detail::contender*>> runners;
        for (std::size_t i = 0; i < lanes.size(); ++i)
            for (const auto& [runner, count] : lanes[i].next_round()) {
                rewards.emplace_back(count);
                queries.push_back(
                    {states[i], runner->token, runner->rewards.size(), rewards.back()});
                runners.emplace_back(i, runner);
            }
        if (runners.empty()) break;
        value.sample(queries);
        for (std::size_t j = 0; j < runners.size(); ++j) {
            const auto& [lane, runner] = runners[j];
            runner->rewards.insert(runner->rewards.end(), rewards[j].begin(), rewards[j].end());
            distributions[lane].set(runner->index,
                                    value.combine(states[lane], runner->token, runner->rewards));
        }
        for (detail::race_lane& lane : lanes) lane.settle();
    }

    std::vector<std::size_t> winners;
    for (const detail::race_lane& lane : lanes) winners.push_back(lane.winner());
    return winners;
}

}  // namespace tq
