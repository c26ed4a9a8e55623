#pragma once
// Several rewards as one: weighted sums and products of named terms.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/reward.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"

namespace tq {

/// One of several rewards: its name in reports and errors, the reward, and its weight: the factor
/// in a weighted_sum, the exponent in a reward_product.
///
/// An lvalue reward is held by reference and must outlive the term, an rvalue is moved in. Copies of
/// a term share the reward.
class reward_term {
public:
    /// name: for reports. weight: finite.
    template <class Judge>
    reward_term(std::string name, Judge&& judge, double weight = 1)
        : name_{std::move(name)},
          weight_{weight},
          judge_{std::make_shared<holder<Judge>>(std::forward<Judge>(judge))} {
        static_assert(explain_reward<std::remove_reference_t<Judge>>());
    }

    /// For reports.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Its factor, or its exponent in a product.
    [[nodiscard]] double weight() const noexcept { return weight_; }

    /// The reward's own range, infinite if it states none.
    [[nodiscard]] reward_range range() const { return judge_->range(); }

    /// The reward's own values, checked; errors of the check begin with `where`.
    void score(std::span<const answer_view> answers, std::span<double> values,
               std::string_view where) const {
        judge_->score(answers, values, where);
    }

private:
    struct any_judge {
        any_judge() = default;
        any_judge(const any_judge&) = delete;
        any_judge& operator=(const any_judge&) = delete;
        virtual ~any_judge() = default;
        virtual void score(std::span<const answer_view> answers, std::span<double> values,
                           std::string_view where) = 0;
        [[nodiscard]] virtual reward_range range() const = 0;
    };
    template <class Judge>
    struct holder final : any_judge {
        explicit holder(Judge&& given) : judge(std::forward<Judge>(given)) {}
        void score(std::span<const answer_view> answers, std::span<double> values,
                   std::string_view where) override {
            score_answers(judge, answers, values, where);
        }
        [[nodiscard]] reward_range range() const override {
            return range_of(judge).value_or(reward_range{});
        }
        Judge judge;
    };

    std::string name_;
    double weight_;
    std::shared_ptr<any_judge> judge_;
};

namespace detail {

/// What sums and products of rewards share: terms with names of their own, scored one call each.
class reward_terms {
public:
    [[nodiscard]] std::span<const reward_term> terms() const noexcept { return terms_; }

    /// values[i * terms().size() + j] is the value of term j, without its weight, for answers[i]; a
    /// value that rounding put outside the stated range is the range's end. Throws backend_error
    /// naming the term whose value is not finite or not in its range; what a reward throws itself
    /// passes through.
    void score_terms(std::span<const answer_view> answers, std::span<double> values) {
        const std::size_t count = terms_.size();
        check_option(values.size() == answers.size() * count, where_, "values size", values.size(),
                     "answers x terms = " + std::to_string(answers.size() * count));
        column_.resize(answers.size());
        for (std::size_t j = 0; j < count; ++j) {
            terms_[j].score(answers, column_, where_ + ": term " + terms_[j].name());
            const reward_range range = terms_[j].range();
            for (std::size_t i = 0; i < answers.size(); ++i)
                values[i * count + j] = std::clamp(column_[i], range.lo, range.hi);
        }
    }

protected:
    reward_terms(std::vector<reward_term> terms, std::string where)
        : terms_{std::move(terms)},
          where_{std::move(where)} {
        check_option(!terms_.empty(), where_, "terms", 0, ">= 1 of them");
        for (std::size_t j = 0; j < terms_.size(); ++j) {
            const std::string& name = terms_[j].name();
            const bool taken =
                std::any_of(terms_.begin(), terms_.begin() + static_cast<std::ptrdiff_t>(j),
                            [&](const reward_term& other) { return other.name() == name; });
            check_option(!name.empty() && !taken, where_, "name of term " + std::to_string(j), name,
                         "not empty and not the name of another term");
            const reward_range range = terms_[j].range();
            check_option(range.lo <= range.hi, where_, "range of term " + name, range.lo,
                         "at most its other end, " + std::to_string(range.hi));
        }
    }

    /// values[i] = combine(the values of all terms for answers[i]).
    template <class Combine>
    void score_with(Combine combine, std::span<const answer_view> answers,
                    std::span<double> values) {
        rows_.resize(answers.size() * terms_.size());
        score_terms(answers, rows_);
        const std::span<const double> rows{rows_};
        for (std::size_t i = 0; i < answers.size(); ++i)
            values[i] = combine(rows.subspan(i * terms_.size(), terms_.size()));
    }

    [[nodiscard]] const std::string& where() const noexcept { return where_; }

private:
    std::vector<reward_term> terms_;
    std::string where_;           // how errors begin
    std::vector<double> column_;  // [answers] of one term
    std::vector<double> rows_;    // [answers x terms]
};

}  // namespace detail

/// Several rewards as one: r = constant + sum_j w_j r_j. Models tq::reward, so one term and a
/// constant are an affine map of a reward.
///
///     tq::weighted_sum total{tq::reward_term{"valence", valence, 0.7},
///                            tq::reward_term{"brevity", brevity, 0.3}};
///
/// Weights are finite; a negative one is a penalty; 0 judges and reports a term without using it.
///
/// range() is exact: constant + sum_j w_j [lo_j, hi_j], where a negative weight swaps the ends. It
/// holds every value, rounding included, so the exact race works. It is infinite on a side where a
/// term with a weight is: a term that states no range makes the whole infinite.
///
/// Q of a sum is the sum of the Qs (expectation is linear), if the rollouts are the same.
/// cost: one call of each reward for a batch. Not thread-safe; copies share the rewards.
class weighted_sum : public detail::reward_terms {
public:
    /// Throws invalid_option without terms, for a name that is empty or given twice, and for a
    /// weight or constant that is not finite.
    weighted_sum(std::vector<reward_term> terms, double constant = 0)
        : reward_terms{std::move(terms), "weighted_sum"},
          constant_{constant} {
        check_option(std::isfinite(constant), where(), "constant", constant, "finite");
        for (const reward_term& term : this->terms())
            check_option(std::isfinite(term.weight()), where(), "weight of term " + term.name(),
                         term.weight(), "finite");
    }
    /// Throws invalid_option for no terms, or a name twice.
    weighted_sum(std::initializer_list<reward_term> terms, double constant = 0)
        : weighted_sum{std::vector<reward_term>(terms), constant} {}

    /// The sum, from the values of the terms (a row of score_terms).
    [[nodiscard]] double combine(std::span<const double> values) const noexcept {
        double sum = constant_;
        for (std::size_t j = 0; j < terms().size(); ++j) sum += terms()[j].weight() * values[j];
        return sum;
    }

    /// values[i] = r(answers[i]).
    void score(std::span<const answer_view> answers, std::span<double> values) {
        score_with([&](std::span<const double> row) { return combine(row); }, answers, values);
    }

    // Added up in the order of combine(): rounding is monotone, so no value is outside.
    /// What every value lies in.
    [[nodiscard]] reward_range range() const {
        reward_range sum{constant_, constant_};
        for (const reward_term& term : terms()) {
            const double w = term.weight();
            if (w == 0) continue;
            const reward_range range = term.range();
            sum.lo += w * (w > 0 ? range.lo : range.hi);
            sum.hi += w * (w > 0 ? range.hi : range.lo);
        }
        return sum;
    }

private:
    double constant_;
};

/// Several rewards as one: r = prod_j r_j ^ w_j. High only where every factor is; with weights that
/// sum to 1 it is the weighted geometric mean. Models tq::reward.
///
/// Weights are exponents in (0, inf). Other than 1 they need a reward that states a range with
/// lo >= 0; with 1 (the default) values of any sign serve.
///
/// range() is exact if every factor states a finite range: the least and the largest product of
/// their ends. Otherwise it is infinite.
///
/// cost: one call of each reward for a batch. Not thread-safe; copies share the rewards.
class reward_product : public detail::reward_terms {
public:
    /// Throws invalid_option without terms, for a name that is empty or given twice, and for a
    /// weight that is out of range or does not go with the reward's range.
    reward_product(std::vector<reward_term> terms)
        : reward_terms{std::move(terms), "reward_product"} {
        for (const reward_term& term : this->terms()) {
            const double w = term.weight();
            const std::string field = "weight of term " + term.name();
            check_option(w > 0 && std::isfinite(w), where(), field, w, "in (0, inf)");
            check_option(w == 1 || term.range().lo >= 0, where(), field, w,
                         "1, for a reward that does not state a range with lo >= 0");
        }
    }
    /// Throws invalid_option for no terms, or a name twice.
    reward_product(std::initializer_list<reward_term> terms)
        : reward_product{std::vector<reward_term>(terms)} {}

    /// The product, from the values of the terms (a row of score_terms).
    [[nodiscard]] double combine(std::span<const double> values) const noexcept {
        double product = 1;
        for (std::size_t j = 0; j < terms().size(); ++j)
            product *= power(values[j], terms()[j].weight());
        return product;
    }

    /// values[i] = r(answers[i]).
    void score(std::span<const answer_view> answers, std::span<double> values) {
        score_with([&](std::span<const double> row) { return combine(row); }, answers, values);
    }

    /// What every value lies in.
    [[nodiscard]] reward_range range() const {
        reward_range product{1, 1};
        for (const reward_term& term : terms()) {
            const reward_range range = term.range();
            if (!std::isfinite(range.lo) || !std::isfinite(range.hi)) return {};
            const double lo = power(range.lo, term.weight()), hi = power(range.hi, term.weight());
            const auto [least, most] =
                std::minmax({product.lo * lo, product.lo * hi, product.hi * lo, product.hi * hi});
            product = {least, most};
        }
        return product;
    }

private:
    static double power(double value, double exponent) noexcept {
        return exponent == 1 ? value : std::pow(value, exponent);
    }
};

}  // namespace tq
