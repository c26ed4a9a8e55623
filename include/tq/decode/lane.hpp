#pragma once
// The race of one state: who runs next, and who cannot win any more.
//
// A draw from p(z) ∝ prior(z) exp(Q(z) / alpha) is the argmax of
//
//     score(z) = base(z) + Q(z) / alpha,   base(z) = log prior(z) + g(z)
//
// with Gumbel noise g fixed per step and token (zero when the mode is wanted). Q(z) is the mean of
// n fixed pieces (rollouts; one, if the value comes whole), so with pieces in [lo, hi], m of them
// known and their sum S,
//
//     (S + (n - m) lo) / n  <=  Q(z)  <=  (S + (n - m) hi) / n.
//
// A candidate whose upper bound is below another's lower bound cannot win: it is dropped with no
// rollout more, even in the middle of one, and the token is provably the one that all rollouts
// would have given (race_mode::exact). Exhaustive drops nobody; confident and a budget trade the
// proof for a stated error or cost.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../estimate/interval.hpp"
#include "../estimate/mean.hpp"
#include "../kernels/tilt.hpp"
#include "options.hpp"
#include "race_budget.hpp"
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
    double score = 0;                // with the mean of its pieces; once it has any
    std::size_t total = 1;           // n, the pieces of its Q
    bool out = false;                // it cannot win any more
    std::vector<double> pieces{};    // those known

    [[nodiscard]] std::size_t missing() const noexcept { return total - pieces.size(); }
};

/// A contender and how many more pieces it gets in this round.
struct race_entry {
    contender* runner;
    std::size_t count;
};

/// The race of one state.
class race_lane {
public:
    template <action_value Value>
    race_lane(const tilted_distribution& distribution, const decode_options& options,
              const decode_state& state, Value& value, race_mode mode)
        : options_{&options},
          range_{value_range(value)},
          candidates_{distribution.size()} {
        report_.mode = mode;
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
        if (drops()) drop_hopeless();
        if constexpr (piecewise_value<Value>)
            for (contender& c : field_) c.total = value.rollouts(state, c.token);
        // Best prospects first; they keep this order.
        std::sort(field_.begin(), field_.end(), likelier);
        report_.contenders = field_.size();
        if constexpr (bounded_value<Value>) {
            const auto cost = static_cast<double>(value.cost(state));
            keep_to(step_budget(options, state), cost);
        }
        report_.starters = field_.size();
        width_ = foresees() ? 1 : field_.size();
    }

    /// Who runs next, and how far. Nobody if the token is decided.
    [[nodiscard]] std::vector<race_entry> next_round() {
        std::vector<race_entry> round;
        if (field_.size() == 1 && drops()) return round;
        for (contender& c : field_) {
            if (round.size() == width_) break;
            if (const std::size_t count = share_of(c); count > 0) round.push_back({&c, count});
        }
        if (foresees()) width_ *= 2;
        if (!round.empty()) ++report_.rounds;
        return round;
    }

    /// Only the exact race draws conclusions in the middle of a round: rollouts that end early are
    /// no fair sample.
    [[nodiscard]] bool foresees() const noexcept {
        return report_.mode == race_mode::exact && !report_.halved && is_finite(range_);
    }

    /// Narrows a contender's bounds by those pieces of a round that are there (the others are NaN).
    void foresee(contender& c, std::span<const double> pieces) const {
        double sum = 0, count = 0;
        const auto add = [&](double piece) {
            if (std::isnan(piece)) return;
            sum += piece;
            ++count;
        };
        std::ranges::for_each(c.pieces, add);
        std::ranges::for_each(pieces, add);
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

    /// Takes in the pieces of a round: those that are out of the race leave.
    void settle() {
        drop_marked();
        for (contender& c : field_)
            if (!c.pieces.empty()) bound(c);
        if (report_.halved) {
            std::sort(field_.begin(), field_.end(), better);
            field_.resize((field_.size() + 1) / 2);
        } else if (drops()) {
            drop_hopeless();
        }
    }

    /// Counts pieces that have come in for a contender, `rollouts` of them real ones.
    void count(const contender& c, std::size_t pieces, std::size_t rollouts) noexcept {
        report_.rollouts += rollouts;
        if (pieces > 0 && c.missing() == 0) ++known_;
    }

    /// Index of the winner in the distribution; ties go to the candidate that comes first.
    [[nodiscard]] std::size_t winner() const {
        return std::min_element(field_.begin(), field_.end(), better)->index;
    }

    /// True if every rollout of every candidate was done.
    [[nodiscard]] bool complete() const noexcept { return known_ == candidates_; }
    [[nodiscard]] const race_report& report() const noexcept { return report_; }

private:
    static bool likelier(const contender& a, const contender& b) noexcept {
        return a.base > b.base || (a.base == b.base && a.index < b.index);
    }
    static bool better(const contender& a, const contender& b) noexcept {
        return a.score > b.score || (a.score == b.score && a.index < b.index);
    }

    [[nodiscard]] bool drops() const noexcept { return report_.mode != race_mode::exhaustive; }
    [[nodiscard]] double tilt_of(double q) const noexcept { return tilt_of_q(q, options_->alpha); }

    /// Cuts the field to what the budget affords, and halves where that is not all their rollouts.
    void keep_to(double budget, double cost) {
        report_.token_budget = budget;
        if (std::isinf(budget)) return;
        constexpr double plenty = 1e15;
        const auto affordable =
            static_cast<std::size_t>((std::min)(plenty, budget / (std::max)(cost, 1.0)));
        std::size_t each = 1;
        for (const contender& c : field_) each = (std::max)(each, c.total);
        affordable_ = affordable;
        // One rollout compares nothing: then the best prospect wins unseen.
        if (affordable < 2) return field_.resize(1);
        while (halving_cost(field_.size(), each) > affordable) field_.pop_back();
        report_.halved = field_.size() > affordable / each;
    }

    /// Pieces that a contender gets in the present round.
    [[nodiscard]] std::size_t share_of(const contender& c) const {
        if (report_.halved) {
            const auto rounds = static_cast<std::size_t>(std::bit_width(report_.starters - 1));
            if (report_.rounds >= rounds) return 0;
            const std::size_t left = affordable_ - (std::min)(affordable_, report_.rollouts);
            const std::size_t share = left / (rounds - report_.rounds) / field_.size();
            return (std::min)(c.missing(), std::max<std::size_t>(1, share));
        }
        if (report_.mode == race_mode::confident)
            return (std::min)(c.missing(), std::max<std::size_t>(2, c.pieces.size()));
        // In an exact race the front-runner raises the bar; the others may not need all.
        const bool others = foresees() && width_ > 1;
        return others ? (std::min)(c.missing(), (c.total + 1) / 2) : c.missing();
    }

    void bound(contender& c) const {
        const double mean = mean_estimate(c.pieces).q;
        c.score = c.base + tilt_of(mean);
        if (foresees() && c.missing() > 0) return foresee(c, {});
        mean_interval q{mean, mean};
        if (report_.mode == race_mode::confident && c.total > 1)
            q = betting_interval(c.pieces, range_,
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

    const decode_options* options_;
    reward_range range_;
    std::size_t candidates_;
    std::vector<contender> field_;  // those that can still win
    race_report report_;
    std::size_t affordable_ = 0;  // rollouts, where it halves
    std::size_t width_ = 0;       // how many run in a round at most
    std::size_t known_ = 0;       // candidates whose every piece is known
};

}  // namespace detail

}  // namespace tq
