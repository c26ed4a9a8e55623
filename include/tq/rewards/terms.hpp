#pragma once
// reward_term: one of several rewards, with a name and a weight.

#include <algorithm>
#include <cstddef>
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
/// An lvalue reward is held by reference and must outlive the term, an rvalue is moved in. Copies
/// of a term share the reward.
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

}  // namespace tq
