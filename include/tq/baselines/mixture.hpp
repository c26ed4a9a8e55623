#pragma once
// Several baselines as one.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/baseline.hpp"
#include "../core/error.hpp"
#include "../core/trajectory.hpp"
#include "../estimate/weights.hpp"
#include "../rollout/engine.hpp"
#include "../rollout/log_probability.hpp"

namespace tq {

/// A model of a mixture and how often rollouts come from it.
template <class Model>
struct component {
    /// A policy or completer.
    Model model;
    double share;  ///< (0, inf); relative to the others'
};

template <class Model>
component(Model&&, double) -> component<Model>;

/// A baseline whose rollouts come from several: rho(tau | u) = sum_j share_j rho_j(tau | u).
///
///     tq::mixture both{tq::component{dpo, 3}, tq::component{policy, 1}};
///
/// Each rollout picks its component at random, a function of its key, so that rollouts are
/// independent draws of the mixture. trajectory::log_probability, if asked for, is that of the
/// mixture, whichever component wrote it: importance weights with it are the balance heuristic, and
/// with the policy itself as a component of share a no ratio rho_pi / rho exceeds 1 / a (a
/// defensive mixture). It takes a reading of every rollout by every other component, counted in
/// trajectory::rows.
///
/// Direct transfer from a mixture is the value of a model that decides once per rollout which of
/// them it is. Models completer; greedy rollouts (temperature 0) are refused: draws are random.
///
/// Lvalue models are held by reference and must outlive it; rvalues are moved in. All must share
/// one vocabulary. Not thread-safe.
/// Source: Veach and Guibas, SIGGRAPH 1995 (balance heuristic); Owen and Zhou, JASA 2000
/// (defensive).
template <class... Models>
class mixture {
    static_assert(sizeof...(Models) >= 1);
    static_assert((explain_policy<std::remove_reference_t<Models>>() && ...));

public:
    /// Throws invalid_option for a share out of range or vocabularies of different sizes.
    explicit mixture(component<Models>... components)
        : models_{std::forward<Models>(components.model)...},
          shares_{components.share...} {
        double sum = 0;
        for (const double share : shares_) {
            check_option(share > 0 && std::isfinite(share), "mixture", "share", share,
                         "in (0, inf)");
            sum += share;
        }
        for (double& share : shares_) share /= sum;
        const std::size_t size = vocab_size();
        visit_all([&](auto& model, std::size_t j) {
            check_option(vocab_size_of(model) == size, "mixture",
                         "vocabulary of component " + std::to_string(j), vocab_size_of(model),
                         "that of the first, " + std::to_string(size) + " tokens");
        });
    }

    /// That of the first component, and of all.
    [[nodiscard]] std::size_t vocab_size() const { return vocab_size_of(std::get<0>(models_)); }
    /// Those of the first component.
    [[nodiscard]] token_view end_tokens() const { return end_tokens_of(std::get<0>(models_)); }
    /// [components], sum 1.
    [[nodiscard]] std::span<const double> shares() const noexcept { return shares_; }

    /// The component that a rollout with this key comes from.
    [[nodiscard]] std::size_t component_of(random_key key) const noexcept {
        double left = key.fold_in(component_key).uniform(0);
        std::size_t j = 0;
        while (j + 1 < shares_.size() && left >= shares_[j]) left -= shares_[j++];
        return j;
    }

    /// Models completer.
    [[nodiscard]] std::vector<trajectory> complete(std::span<const rollout_request> requests,
                                                   sampling_rule rule) {
        check_option(!rule.greedy(), "mixture", "temperature", rule.temperature,
                     "> 0: a rollout's component is random");
        std::vector<trajectory> result(requests.size());
        visit_all([&](auto& model, std::size_t j) { draw(model, j, requests, rule, result); });
        const bool weighed = std::ranges::any_of(requests, &rollout_request::log_probability);
        if (weighed) mix(requests, rule.temperature, result);
        return result;
    }

private:
    static constexpr std::uint64_t component_key = std::uint64_t{1} << 41U;

    template <class Visit>
    void visit_all(Visit visit) {
        std::size_t j = 0;
        std::apply([&](auto&... models) { (visit(models, j++), ...); }, models_);
    }

    /// The rollouts of component j, all together.
    template <class Model>
    void draw(Model& model, std::size_t j, std::span<const rollout_request> requests,
              sampling_rule rule, std::vector<trajectory>& result) const {
        std::vector<std::size_t> mine;
        std::vector<rollout_request> wanted;
        for (std::size_t i = 0; i < requests.size(); ++i)
            if (component_of(requests[i].key) == j) {
                mine.push_back(i);
                wanted.push_back(requests[i]);
            }
        std::vector<trajectory> drawn = run_rollouts(model, wanted, rule);
        for (std::size_t n = 0; n < mine.size(); ++n) result[mine[n]] = std::move(drawn[n]);
    }

    /// Replaces the log-probabilities under the component by those under the mixture.
    void mix(std::span<const rollout_request> requests, double temperature,
             std::vector<trajectory>& rollouts) {
        constexpr std::size_t n = sizeof...(Models);
        std::vector<std::array<double, n>> logs(rollouts.size());
        visit_all([&](auto& model, std::size_t j) {
            std::vector<std::size_t> others;
            std::vector<continuation_view> views;
            for (std::size_t i = 0; i < rollouts.size(); ++i) {
                const trajectory& rollout = rollouts[i];
                logs[i][j] = rollout.log_probability;
                if (component_of(requests[i].key) == j) continue;
                others.push_back(i);
                views.push_back(
                    {rollout.sequence, rollout.start, rollout.finished, requests[i].end_tokens});
            }
            const std::vector<double> read = log_probabilities(model, views, temperature);
            for (std::size_t m = 0; m < others.size(); ++m) {
                logs[others[m]][j] = read[m];
                rollouts[others[m]].rows += views[m].rows();
            }
        });
        for (std::size_t i = 0; i < rollouts.size(); ++i)
            rollouts[i].log_probability = balance_log_probability(logs[i], shares_);
    }

    std::tuple<Models...> models_;
    std::array<double, sizeof...(Models)> shares_;
};

template <class... Models>
mixture(component<Models>...) -> mixture<Models...>;

}  // namespace tq
