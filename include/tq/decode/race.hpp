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
// rollout more, even in the middle of one, and the token is provably the one that all rollouts would
// have given (race_mode::exact). The other modes trade that proof for a stated error or a budget.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../core/error.hpp"
#include "../estimate/interval.hpp"
#include "../estimate/mean.hpp"
#include "options.hpp"
#include "selection.hpp"
#include "step.hpp"

namespace tq {

/// Model tokens that look-ahead may cost in this step: the part of the answer's budget that is open
/// by now, less what has been spent; >= 0.
[[nodiscard]] inline double step_budget(const decode_options& options, const decode_state& state) {
    if (std::isinf(options.token_budget)) return options.token_budget;
    const auto position = static_cast<double>(state.answer().size());
    const double length = position + static_cast<double>(state.tokens_left);
    const double open = std::pow((position + 1) / length, 1 / options.budget_front);
    return (std::max)(0.0, options.token_budget * length * open - static_cast<double>(state.spent));
}

namespace detail {

/// One candidate in the race.
struct contender {
    std::size_t index = 0;  // in the distribution
    token_id token = 0;
    double base = 0;                 // log prior + g
    double lowest = 0, highest = 0;  // bounds of its score
    double score = 0;                // with the mean of its rewards; once it has any
    std::size_t total = 1;           // n, the rollouts of its Q
    bool out = false;                // it cannot win any more
    std::vector<double> rewards{};   // those done

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
    template <sampled_value Value>
    race_lane(const tilted_distribution& distribution, const decode_options& options,
              const decode_state& state, Value& value)
        : options_{&options},
          range_{value.range()},
          candidates_{distribution.size()} {
        const selection_noise noise{options.select, state.key};
        for (std::size_t i = 0; i < distribution.size(); ++i) {
            const token_id token = distribution.tokens[i];
            const double base = distribution.log_prior[i] + noise(token);
            field_.push_back({.index = i,
                              .token = token,
                              .base = base,
                              .lowest = base + tilt_of(range_.lo),
                              .highest = base + tilt_of(range_.hi)});
        }
        drop_hopeless();
        for (contender& c : field_) c.total = value.rollouts(state, c.token);
        // Best prospects first; they keep this order.
        std::sort(field_.begin(), field_.end(), likelier);
        report_.contenders = field_.size();
        plan(step_budget(options, state), static_cast<double>(value.cost(state)));
        report_.starters = field_.size();
        width_ = report_.mode == race_mode::exact ? 1 : field_.size();
    }

    /// Who runs next, and how far. Nobody if the token is decided.
    [[nodiscard]] std::vector<race_entry> next_round() {
        std::vector<race_entry> round;
        if (field_.size() == 1) return round;
        for (contender& c : field_) {
            if (round.size() == width_) break;
            if (const std::size_t count = share_of(c); count > 0) round.push_back({&c, count});
        }
        if (report_.mode == race_mode::exact) width_ *= 2;
        if (!round.empty()) ++report_.rounds;
        return round;
    }

    /// Only the exact race draws conclusions in the middle of a round: rollouts that end early are no
    /// fair sample.
    [[nodiscard]] bool foresees() const noexcept { return report_.mode == race_mode::exact; }

    /// Narrows a contender's bounds by those rewards of a round that are there (the others are NaN).
    void foresee(contender& c, std::span<const double> rewards) const {
        double sum = 0, count = 0;
        const auto add = [&](double reward) {
            if (std::isnan(reward)) return;
            sum += reward;
            ++count;
        };
        std::ranges::for_each(c.rewards, add);
        std::ranges::for_each(rewards, add);
        const auto n = static_cast<double>(c.total);
        const double rest = n - count;
        const double lo = rest > 0 ? sum + rest * range_.lo : sum;
        const double hi = rest > 0 ? sum + rest * range_.hi : sum;
        c.lowest = c.base + tilt_of(lo / n);
        c.highest = c.base + tilt_of(hi / n);
        constexpr double rounding = 1e-12;
        c.lowest -= rounding * (1 + std::abs(c.lowest));
        c.highest += rounding * (1 + std::abs(c.highest));
    }

    /// Marks those that cannot win any more. Ties stay: the winner's rule decides them.
    void mark_hopeless() {
        double bar = -std::numeric_limits<double>::infinity();
        for (const contender& c : field_)
            if (!c.out) bar = (std::max)(bar, c.lowest);
        for (contender& c : field_) c.out = c.out || c.highest < bar;
    }

    /// Takes in the rewards of a round: those that are out of the race leave.
    void settle() {
        drop_marked();
        for (contender& c : field_)
            if (!c.rewards.empty()) bound(c);
        if (report_.mode == race_mode::halving)
            drop_worse_half();
        else
            drop_hopeless();
    }

    /// Counts rewards that have come in for a contender.
    void count(const contender& c, std::size_t rewards) noexcept {
        report_.rollouts += rewards;
        if (rewards > 0 && c.missing() == 0) ++known_;
    }

    /// Index of the winner in the distribution; ties go to the candidate that comes first.
    [[nodiscard]] std::size_t winner() const {
        return std::min_element(field_.begin(), field_.end(), better)->index;
    }

    /// True if every rollout of every candidate was done all the same.
    [[nodiscard]] bool complete() const noexcept { return known_ == candidates_; }
    [[nodiscard]] const race_report& report() const noexcept { return report_; }

private:
    static bool likelier(const contender& a, const contender& b) noexcept {
        return a.base > b.base || (a.base == b.base && a.index < b.index);
    }
    static bool better(const contender& a, const contender& b) noexcept {
        return a.score > b.score || (a.score == b.score && a.index < b.index);
    }

    [[nodiscard]] double tilt_of(double q) const noexcept {
        return std::isinf(options_->alpha) ? 0.0 : q / options_->alpha;  // not inf / inf
    }

    /// Chooses the mode, and the field by what is affordable.
    void plan(double budget, double cost) {
        report_.mode = options_->race;
        race_budget_ = options_->race_budget;
        if (options_->race != race_mode::automatic) return;
        report_.token_budget = budget;
        constexpr double plenty = 1e15;
        const auto affordable = static_cast<std::size_t>((std::min)(plenty, budget / cost));
        std::size_t each = 1;
        for (const contender& c : field_) each = (std::max)(each, c.total);
        // One rollout compares nothing: then the best prospect wins unseen.
        field_.resize(affordable < 2 ? 1 : (std::min)(field_.size(), affordable));
        race_budget_ = affordable;
        // Where confidence intervals begin to save more than the range does (benchmarks/race_savings).
        constexpr std::size_t many = 64;
        report_.mode = field_.size() > affordable / each ? race_mode::halving
                       : each < many                     ? race_mode::exact
                                                         : race_mode::confident;
    }

    /// Rollouts that a contender gets in the present round.
    [[nodiscard]] std::size_t share_of(const contender& c) const {
        switch (report_.mode) {
            case race_mode::confident:
                return (std::min)(c.missing(), std::max<std::size_t>(2, c.rewards.size()));
            case race_mode::halving: {
                const std::size_t rounds = std::max<std::size_t>(1, log2_up(report_.starters));
                if (report_.rounds >= rounds) return 0;
                const std::size_t share = race_budget_ / rounds / field_.size();
                return (std::min)(c.missing(), std::max<std::size_t>(1, share));
            }
            default:  // the front-runner raises the bar; the others may not need all
                return width_ == 1 ? c.missing() : (std::min)(c.missing(), (c.total + 1) / 2);
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
        if (report_.mode == race_mode::exact && c.missing() > 0) return foresee(c, {});
        mean_interval q{mean, mean};
        if (report_.mode == race_mode::confident && c.total > 1)
            q = betting_interval(c.rewards, range_,
                                 options_->race_error / static_cast<double>(report_.starters));
        c.lowest = c.base + tilt_of(q.lo);
        c.highest = c.base + tilt_of(q.hi);
    }

    void drop_hopeless() {
        mark_hopeless();
        drop_marked();
    }

    void drop_marked() {
        std::erase_if(field_, [](const contender& c) { return c.out; });
    }

    void drop_worse_half() {
        std::sort(field_.begin(), field_.end(), better);
        field_.resize((field_.size() + 1) / 2);
    }

    const decode_options* options_;
    reward_range range_;
    std::size_t candidates_;
    std::vector<contender> field_;  // those that can still win
    race_report report_;
    std::size_t race_budget_ = 0;  // rollouts, of halving
    std::size_t width_ = 0;        // how many run in a round at most
    std::size_t known_ = 0;        // candidates whose every rollout is done
};

/// One round of every lane, in one call of the value. Returns false if nobody had to run.
template <sampled_value Value>
[[nodiscard]] bool run_round(Value& value, std::span<const decode_state> states,
                             std::vector<race_lane>& lanes,
                             std::span<tilted_distribution> distributions) {
    struct run {
        std::size_t lane;
        contender* runner;
    };
    std::vector<run> runs;
    std::vector<std::vector<double>> rewards;
    std::vector<rollout_query> queries;
    for (std::size_t i = 0; i < lanes.size(); ++i)
        for (const auto& [runner, count] : lanes[i].next_round()) {
            runs.push_back({i, runner});
            std::vector<double>& place = rewards.emplace_back(count);
            queries.push_back({states[i], runner->token, runner->rewards.size(), place});
        }
    if (runs.empty()) return false;

    sample_rewards(value, queries, [&] {
        for (std::size_t j = 0; j < runs.size(); ++j)
            if (lanes[runs[j].lane].foresees())
                lanes[runs[j].lane].foresee(*runs[j].runner, rewards[j]);
        for (race_lane& lane : lanes)
            if (lane.foresees()) lane.mark_hopeless();
        for (std::size_t j = 0; j < runs.size(); ++j) queries[j].wanted = !runs[j].runner->out;
    });

    for (std::size_t j = 0; j < runs.size(); ++j) {
        const auto& [i, runner] = runs[j];
        distributions[i].spent += queries[j].spent;
        std::erase_if(rewards[j], [](double reward) { return std::isnan(reward); });
        if (rewards[j].size() < queries[j].rewards.size()) {
            if (queries[j].wanted)
                throw backend_error{"action value: a reward of token " +
                                    std::to_string(runner->token) + " is NaN"};
        } else {
            runner->rewards.insert(runner->rewards.end(), rewards[j].begin(), rewards[j].end());
            distributions[i].set(runner->index,
                                 value.combine(states[i], runner->token, runner->rewards));
        }
        lanes[i].count(*runner, rewards[j].size());
    }
    for (race_lane& lane : lanes) lane.settle();
    return true;
}

}  // namespace detail

/// Who won a race, and how.
struct race_outcome {
    std::size_t winner = 0;  ///< index in the distribution
    bool complete = false;   ///< every rollout of every candidate was done: Q is known throughout
    /// How it went.
    race_report report = {};
};

/// Races the candidates of many states at once. A round of every state shares one call of the value.
/// Fills q, q_error, rollouts and spent of what was evaluated.
/// Throws backend_error if a Q is NaN, and whatever the value throws.
template <sampled_value Value>
[[nodiscard]] std::vector<race_outcome> run_race(Value& value, const decode_options& options,
                                                 std::span<const decode_state> states,
                                                 std::span<tilted_distribution> distributions) {
    std::vector<detail::race_lane> lanes;
    for (std::size_t i = 0; i < states.size(); ++i)
        lanes.emplace_back(distributions[i], options, states[i], value);
    while (detail::run_round(value, states, lanes, distributions)) {
    }
    std::vector<race_outcome> outcomes;
    for (const detail::race_lane& lane : lanes)
        outcomes.push_back({lane.winner(), lane.complete(), lane.report()});
    return outcomes;
}

}  // namespace tq
