#pragma once
// Part A of the benchmark: the tables of decisions.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "decisions.hpp"

namespace noise {

/// [states] one figure of a row in every state.
using figures = std::vector<double>;

class decision_report {
public:
    explicit decision_report(const std::vector<measured_state>& states)
        : states_{states},
          rows_{estimators()} {}

    nlohmann::json print() {
        print_noise();
        print_main({&measured_state::log_baseline, 0.1});
        fmt::print(
            "\ntrue Q of the argmax, minus that of the reference; by what is tilted and alpha\n");
        print_grid(&worth::argmax);
        fmt::print(
            "\nE[Q] - alpha KL of the tilt, minus that of the reference; by what is tilted and "
            "alpha\n");
        print_grid(&worth::objective);
        return json_;
    }

private:
    static constexpr setting settings[] = {
        {&measured_state::log_baseline, 0.05}, {&measured_state::log_baseline, 0.1},
        {&measured_state::log_baseline, 0.2},  {&measured_state::log_policy, 0.05},
        {&measured_state::log_policy, 0.1},    {&measured_state::log_policy, 0.2}};

    [[nodiscard]] const estimator& row(const std::string& name) const {
        return *std::ranges::find(rows_, name, &estimator::name);
    }

    [[nodiscard]] figures figures_of(const estimator& row, const setting& setting,
                                     double worth::*part) const {
        figures result;
        for (const measured_state& state : states_)
            result.push_back(judge(state, row, setting).*part);
        return result;
    }

    /// How noisy is one rollout, and how far apart are the candidates?
    void print_noise() {
        double within = 0, between = 0, square = 0, rollouts = 0;
        std::map<std::string, double> product, squares;
        for (const measured_state& state : states_) {
            const std::size_t m = state.rewards.front().size();
            const observed all = observe(state, 0, m, 0);
            const tq::shrunk_values values = tq::shrink(all.q, all.error, all.rollouts);
            rollouts += static_cast<double>(m);
            within += std::isnan(values.within) ? 0 : values.within;
            between += std::isnan(values.between) ? 0 : values.between;
            const auto centred = [](std::vector<double> q) {
                const double mean = tq::mean_estimate(q).q;
                for (double& value : q) value -= mean;
                return q;
            };
            const std::vector<double> truth = centred(all.q);
            for (const auto& [name, look] : state.looks) {
                const std::vector<double> q = centred(look);
                for (std::size_t i = 0; i < q.size(); ++i) {
                    product[name] += q[i] * truth[i];
                    squares[name] += q[i] * q[i];
                }
            }
            for (const double q : truth) square += q * q;
        }
        const auto n = static_cast<double>(states_.size());
        json_["states"] = states_.size();
        json_["sd_of_one_rollout"] = std::sqrt(within / n);
        json_["sd_between_candidates"] = std::sqrt(between / n);
        fmt::print(
            "{} states, {} candidates, {:.0f} rollouts of each on average\n"
            "standard deviation of one rollout {:.3f}, of the true Q between a state's candidates "
            "{:.3f}\n",
            states_.size(), states_.front().rewards.size(), rollouts / n, std::sqrt(within / n),
            std::sqrt(between / n));
        fmt::print("correlation with Q, and slope of Q, within states:");
        for (const auto& [name, value] : product) {
            const double correlation = value / std::sqrt(squares[name] * square);
            fmt::print("  {} {:.2f}, {:.2f}", name, correlation, value / squares[name]);
            json_["correlation_" + name] = correlation;
        }
        fmt::print("\n");
    }

    void print_main(const setting& setting) {
        figures best;
        for (const measured_state& state : states_)
            best.push_back(std::ranges::max(means(state.rewards, 0, 0, false)));
        fmt::print(
            "\nbaseline tilted, alpha {}; lost = the best candidate's true Q minus that of the "
            "decision\n\n{:<24}{:>16}  {:>18}  {:>15} {:>8} {:>8}\n",
            setting.alpha, "", "argmax: lost", "minus reference", "draw: lost", "KL", "tokens");
        for (const estimator& row : rows_) {
            const figures argmax = figures_of(row, setting, &worth::argmax),
                          other = figures_of(this->row(row.reference), setting, &worth::argmax),
                          sampled = figures_of(row, setting, &worth::sampled),
                          kl = figures_of(row, setting, &worth::kl);
            const tq::paired_difference lost = tq::compare_paired(best, argmax),
                                        more = tq::compare_paired(argmax, other),
                                        drawn = tq::compare_paired(best, sampled);
            fmt::print(
                "{:<24}{:>7.4f} +- {:.4f} {:>+9.4f} +- {:.4f}  {:>5.4f} +- {:.4f} {:>6.2f} "
                "{:>8.0f}\n",
                row.name, lost.mean, lost.standard_error, -more.mean, more.standard_error,
                drawn.mean, drawn.standard_error, tq::mean_estimate(kl).q, cost_of(states_, row));
            std::string key = row.name;
            std::ranges::replace(key, ' ', '_');
            json_["lost_" + key] = lost.mean;
            json_["se_lost_" + key] = lost.standard_error;
        }
    }

    void print_grid(double worth::*part) const {
        fmt::print("\n{:<24}", "");
        for (const setting& s : settings)
            fmt::print("{:>17}",
                       fmt::format("{} {}",
                                   s.prior == &measured_state::log_baseline ? "baseline" : "policy",
                                   s.alpha));
        fmt::print("\n");
        for (const estimator& row : rows_) {
            if (row.name == row.reference) continue;
            fmt::print("{:<24}", row.name);
            for (const setting& s : settings) {
                const tq::paired_difference d = tq::compare_paired(
                    figures_of(row, s, part), figures_of(this->row(row.reference), s, part));
                fmt::print("{:>+8.4f} ({:.4f})", d.mean, d.standard_error);
            }
            fmt::print("\n");
        }
    }

    const std::vector<measured_state>& states_;
    std::vector<estimator> rows_;
    nlohmann::json json_;
};

}  // namespace noise
