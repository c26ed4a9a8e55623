#pragma once
// Several rewards as one: weighted sums and products of named terms.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/reward.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "terms.hpp"

namespace tq {

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

    /// Added up in the order of combine(): rounding is monotone, so no value is outside.
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

    /// The least and the largest product of the factors' ends; infinite if one is.
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
