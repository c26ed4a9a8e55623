#pragma once
// What decisions by an estimate of Q are worth, in measured states.
//
// The rollouts of a state are dealt into groups of the size that an estimate uses. What a group decides
// is judged by the means of all *other* rollouts: no rollout judges its own decision, and none is
// wasted. The best candidate's Q is the largest of noisy means, too high for all rows alike: look at
// differences between rows.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <tq/estimate/mean.hpp>
#include <tq/evaluate/paired.hpp>
#include <tq/kernels/tilt.hpp>
#include <tq/lab/shrink.hpp>

#include "table.hpp"

namespace noise {

/// What an estimate may look at: a state and the first `n` rewards of each candidate, as a mean.
struct observed {
    const measured_state& state;
    std::vector<double> q, error;       // [k] mean of the group and its standard error
    std::vector<std::size_t> rollouts;  // [k]
    double alpha;
};

/// A way to estimate Q.
struct estimator {
    std::string name;
    std::size_t n;                   // sampled rollouts of each candidate; 0 = none
    std::string reference;           // the row that it is compared with
    std::vector<std::string> looks;  // other looks that it pays for
    std::function<std::vector<double>(const observed&)> q;
};

/// A row of one state, or their mean: what the decisions are worth.
struct worth {
    double argmax = 0;     // true Q of the argmax of log prior + Q / alpha
    double sampled = 0;    // expected true Q of a draw from the tilt
    double kl = 0;         // of the tilt, from the prior on the candidates
    double objective = 0;  // sampled - alpha kl: what the tilt is meant to maximise
};

struct setting {
    std::vector<double> measured_state::*prior;
    double alpha;
};

inline std::vector<double> means(const reward_table& rewards, std::size_t first, std::size_t count,
                                 bool inside) {
    std::vector<double> result;
    for (const std::vector<double>& row : rewards) {
        double sum = 0, n = 0;
        for (std::size_t i = 0; i < row.size(); ++i)
            if ((i >= first && i < first + count) == inside) {
                sum += row[i];
                ++n;
            }
        result.push_back(sum / n);
    }
    return result;
}

inline observed observe(const measured_state& state, std::size_t first, std::size_t n,
                        double alpha) {
    observed result{.state = state, .q = {}, .error = {}, .rollouts = {}, .alpha = alpha};
    for (const std::vector<double>& row : state.rewards) {
        const bool exact = std::ranges::all_of(row, [&](double r) { return r == row.front(); });
        const tq::value_estimate value = tq::mean_estimate(std::span{row}.subspan(first, n));
        result.q.push_back(value.q);
        result.error.push_back(exact ? 0.0 : value.standard_error);
        result.rollouts.push_back(exact ? 0 : n);
    }
    return result;
}

inline worth decide(const measured_state& state, const setting& setting, std::span<const double> q,
                    std::span<const double> truth) {
    const std::size_t k = q.size();
    std::vector<double> prior = state.*setting.prior, log_p(k);
    const double mass = tq::log_sum_exp(std::span<const double>{prior});
    for (double& value : prior) value -= mass;
    tq::tilt(prior, q, setting.alpha, log_p);
    worth result{.kl = tq::kl_divergence(log_p, prior)};
    std::size_t best = 0;
    for (std::size_t i = 0; i < k; ++i) {
        if (log_p[i] > log_p[best]) best = i;
        result.sampled += std::exp(log_p[i]) * truth[i];
    }
    result.argmax = truth[best];
    result.objective = result.sampled - setting.alpha * result.kl;
    return result;
}

/// The mean over the groups of a state.
inline worth judge(const measured_state& state, const estimator& row, const setting& setting) {
    const std::size_t total = state.rewards.front().size();
    const std::size_t size = row.n == 0 ? total : row.n;
    worth sum;
    double groups = 0;
    for (std::size_t first = 0; first + size <= total; first += size, ++groups) {
        const std::vector<double> q = row.q(observe(state, first, size, setting.alpha));
        const worth one =
            decide(state, setting, q, means(state.rewards, first, row.n, /*inside=*/false));
        sum.argmax += one.argmax;
        sum.sampled += one.sampled;
        sum.kl += one.kl;
        sum.objective += one.objective;
    }
    for (double worth::*part : {&worth::argmax, &worth::sampled, &worth::kl, &worth::objective})
        sum.*part /= groups;
    return sum;
}

/// Q for a tilt whose weights are right on average: E exp(Qhat / alpha) = exp(Q / alpha + error^2 / (2
/// alpha^2)) with normal noise, so that Q - error^2 / (2 alpha). An unknown error changes nothing.
[[nodiscard]] inline double log_normal_q(double q, double error, double alpha) {
    return error > 0 ? q - error * error / (2 * alpha) : q;
}

/// The rows: looks, means of sampled rollouts, and corrections of these.
inline std::vector<estimator> estimators() {
    std::vector<estimator> rows;
    rows.push_back({"prior alone", 0, "greedy", {}, [](const observed& o) {
                        return std::vector<double>(o.q.size(), 0.0);
                    }});
    for (const char* look : {"args", "greedy_8", "greedy_16", "greedy"})
        rows.push_back({look, 0, "greedy", {look}, [look](const observed& o) {
                            return o.state.looks.at(look);
                        }});
    for (const std::size_t n : {1U, 2U, 4U, 8U, 16U})
        rows.push_back({"sampled " + std::to_string(n), n, "greedy", {}, [](const observed& o) {
                            return o.q;
                        }});
    for (const std::size_t n : {2U, 4U, 8U, 16U}) {
        const std::string number = std::to_string(n), raw = "sampled " + number;
        using columns = std::vector<std::span<const double>>;
        const auto towards = [&](const char* name, std::vector<std::string> looks,
                                 std::function<columns(const measured_state&)> covariates) {
            rows.push_back({"shrink " + number + name, n, raw, std::move(looks),
                            [covariates](const observed& o) {
                                return tq::shrink(o.q, o.error, o.rollouts, covariates(o.state)).q;
                            }});
        };
        towards("", {}, [](const measured_state&) { return columns{}; });
        if (n > 4) continue;
        towards(" on log prior", {},
                [](const measured_state& s) { return columns{s.log_baseline}; });
        towards(" on ARGS", {"args"},
                [](const measured_state& s) { return columns{s.looks.at("args")}; });
        towards(" on greedy", {"greedy"},
                [](const measured_state& s) { return columns{s.looks.at("greedy")}; });
        rows.push_back({"log-normal " + number, n, raw, {}, [](const observed& o) {
                            std::vector<double> q;
                            for (std::size_t i = 0; i < o.q.size(); ++i)
                                q.push_back(log_normal_q(o.q[i], o.error[i], o.alpha));
                            return q;
                        }});
    }
    return rows;
}

/// Model tokens of look-ahead in a step, all candidates, on average.
inline double cost_of(const std::vector<measured_state>& states, const estimator& row) {
    double sum = 0;
    for (const measured_state& state : states) {
        sum += static_cast<double>(row.n) * state.spent.at("sample");
        for (const std::string& look : row.looks) sum += state.spent.at(look);
    }
    return sum / static_cast<double>(states.size());
}

}  // namespace noise
