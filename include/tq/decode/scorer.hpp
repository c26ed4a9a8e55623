#pragma once
// The scorer: candidates, their Q, and the tilted distribution.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/policy.hpp"
#include "../core/stopwatch.hpp"
#include "../kernels/gumbel.hpp"
#include "../kernels/log_sum_exp.hpp"
#include "../kernels/tilt.hpp"
#include "../kernels/top_k.hpp"
#include "options.hpp"
#include "race.hpp"
#include "selection.hpp"
#include "step.hpp"

namespace tq {

/// Turns states into tilted distributions p(z|s) ∝ prior(z|s) exp(Q(s,z) / alpha).
///
/// The prior is the policy (the paper's decoder), or another `anchor`: anchored at the baseline,
/// exact Q never does worse than the baseline itself. Divergence is always measured against the
/// policy. Candidates are the top_k most likely tokens of the prior, then Q is asked for all of
/// them, for all states, in one call.
///
/// Policy and value: lvalues are held by reference and must outlive the scorer, rvalues are moved
/// in; an anchor is always held by reference.
/// threads: one scorer per thread; it uses the models it was given. Source: arXiv 2405.20495.
template <class Policy, class Value, class Anchor = std::remove_reference_t<Policy>>
class scorer {
    static_assert(explain_policy<std::remove_reference_t<Policy>>());
    static_assert(explain_action_value<std::remove_reference_t<Value>>());
    static_assert(explain_policy<Anchor>());

public:
    /// Throws invalid_option if an option is out of range, or not to be had from this value.
    scorer(Policy&& policy, Value&& value, decode_options options = {})
        : policy_(std::forward<Policy>(policy)),
          value_(std::forward<Value>(value)),
          options_{std::move(options)} {
        validate(options_, "scorer");
        refuse_what_the_value_cannot();
    }

    /// The same with the prior taken from `anchor` (the policy itself will do). Throws
    /// invalid_option if its vocabulary is of another size than the policy's.
    scorer(Policy&& policy, Value&& value, Anchor& anchor, decode_options options = {})
        : scorer{std::forward<Policy>(policy), std::forward<Value>(value), std::move(options)} {
        check_option(vocab_size_of(anchor) == vocab_size_of(policy_), "scorer", "anchor vocabulary",
                     vocab_size_of(anchor),
                     "the policy's, " + std::to_string(vocab_size_of(policy_)) + " tokens");
        const bool is_policy =
            static_cast<const void*>(&anchor) == static_cast<const void*>(&policy_);
        anchor_ = is_policy ? nullptr : &anchor;
    }

    /// One distribution for each state, in order, every Q known.
    /// Throws backend_error if a row of logits holds NaN or forbids every token, or if a Q is NaN;
    /// whatever the models throw passes through.
    [[nodiscard]] std::vector<tilted_distribution> score(std::span<const decode_state> states) {
        std::vector<tilted_distribution> result = propose(states);
        static_cast<void>(run_race(value_, options_, race_mode::exhaustive, states, result));
        for (std::size_t i = 0; i < states.size(); ++i) close(result[i], states[i]);
        return result;
    }

    /// The first half of score: candidates and their log-probabilities, Q still unknown (NaN). They
    /// are the top_k likeliest tokens of the prior.
    ///
    /// For a race that is won by the largest log prior(z) + noise(z) + Q(z) / alpha, where all Q /
    /// alpha lie within a finite `reach` of each other, they are the tokens that can win, of the
    /// whole vocabulary, if at most top_k can.
    [[nodiscard]] std::vector<tilted_distribution> propose(
        std::span<const decode_state> states,
        double reach = std::numeric_limits<double>::infinity()) {
        std::vector<tilted_distribution> result(states.size());
        if (states.empty()) return result;
        views_.clear();
        for (const decode_state& state : states) views_.push_back(state.sequence);
        const std::span<const logits_view> rows =
            anchor_ ? logits_of(*anchor_, views_) : logits_of(policy_, views_);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const detail::stopwatch watch{kernel_seconds_};
            proposal found = std::isfinite(reach) ? contenders(rows[i], states[i].key, reach)
                                                  : likeliest(rows[i]);
            result[i].tokens = std::move(found.tokens);
            result[i].log_prior = log_probabilities(rows[i], result[i].tokens, found.log_partition);
            result[i].spent.policy = anchor_ ? 2 : 1;
        }
        set_policy(result);
        constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
        for (tilted_distribution& distribution : result) {
            distribution.q.assign(distribution.size(), unknown);
            distribution.q_error.assign(distribution.size(), unknown);
            distribution.log_p.assign(distribution.size(), unknown);
            distribution.rollouts.assign(distribution.size(), 0);
            distribution.log_z = distribution.kl = distribution.kl_prior = unknown;
            distribution.alpha = options_.alpha;
        }
        return result;
    }

    /// The second half: the closed form, once every Q is there.
    /// Throws invalid_option if an alpha_rule gives an alpha out of range.
    void close(tilted_distribution& distribution, const decode_state& state) const {
        if (options_.alpha_rule) {
            distribution.alpha = options_.alpha_rule(distribution, state);
            check_option(distribution.alpha > 0, "alpha_rule", "alpha", distribution.alpha,
                         "in (0, inf]");
        }
        distribution.log_z =
            tilt(distribution.log_prior, distribution.q, distribution.alpha, distribution.log_p);
        // It cannot be negative: the mass on the candidates is at most 1. Float logits can leave
        // some 1e-8 below.
        const auto divergence = [&](const std::vector<double>& from) {
            const double kl = kl_divergence(distribution.log_p, from);
            return kl < 0 ? 0.0 : kl;
        };
        distribution.kl = divergence(distribution.log_pi);
        distribution.kl_prior = anchor_ ? divergence(distribution.log_prior) : distribution.kl;
    }

    /// The distribution of one state.
    [[nodiscard]] tilted_distribution score(const decode_state& state) {
        return std::move(score(std::span{&state, 1}).front());
    }

    [[nodiscard]] const decode_options& options() const noexcept { return options_; }
    [[nodiscard]] auto& policy() noexcept { return policy_; }
    /// Time spent in kernels so far: candidates and log-partitions of rows.
    [[nodiscard]] double kernel_seconds() const noexcept { return kernel_seconds_; }
    [[nodiscard]] auto& value() noexcept { return value_; }

private:
    void refuse_what_the_value_cannot() const {
        using value_type = std::remove_reference_t<Value>;
        check_option(piecewise_value<value_type> || options_.race != race_mode::confident, "scorer",
                     "race", options_.race,
                     "exhaustive or exact: this value's Q does not come piece by piece");
        check_option(bounded_value<value_type> || std::isinf(options_.token_budget), "scorer",
                     "token_budget", options_.token_budget,
                     "inf: this value does not say what it costs (no `range()` and `cost(state)`)");
    }

    void set_policy(std::vector<tilted_distribution>& result) {
        if (!anchor_) {
            for (tilted_distribution& distribution : result)
                distribution.log_pi = distribution.log_prior;
            return;
        }
        const std::span<const logits_view> rows = logits_of(policy_, views_);
        const detail::stopwatch watch{kernel_seconds_};
        for (std::size_t i = 0; i < rows.size(); ++i)
            result[i].log_pi = log_probabilities(rows[i], result[i].tokens,
                                                 log_sum_exp(rows[i], options_.temperature));
    }

    /// Candidates of a row, and its log-partition.
    struct proposal {
        token_list tokens = {};
        double log_partition = 0;
    };

    /// The top_k likeliest tokens, in descending order.
    [[nodiscard]] proposal likeliest(logits_view row) {
        top_.resize((std::min)(options_.top_k, row.size()));
        const top_k_result top = top_k_log_partition(row, top_, options_.temperature);
        proposal result{.log_partition = top.log_partition};
        for (const scored_token& entry : std::span{top_}.first(top.found))
            result.tokens.push_back(entry.token);
        return result;
    }

    /// Those that can win, in descending order of the prior; the top_k likeliest if they are more.
    [[nodiscard]] proposal contenders(logits_view row, random_key key, double width) {
        const selection_noise noise{options_.select, key};
        survivors_.resize((std::min)(options_.top_k, row.size()));
        const std::size_t found =
            gumbel_survivors(row, noise.field(), options_.temperature, width, survivors_);
        if (found == 0 || found > survivors_.size()) return likeliest(row);
        proposal result{.log_partition = log_sum_exp(row, options_.temperature)};
        for (const scored_survivor& entry : std::span{survivors_}.first(found))
            result.tokens.push_back(entry.token);
        const auto logit = [&](token_id token) { return row[static_cast<std::size_t>(token)]; };
        std::ranges::sort(result.tokens, [&](token_id a, token_id b) {
            return logit(a) > logit(b) || (logit(a) == logit(b) && a < b);
        });
        return result;
    }

    /// log softmax(row / temperature) at `tokens`.
    [[nodiscard]] std::vector<double> log_probabilities(logits_view row, token_view tokens,
                                                        double log_partition) const {
        if (tokens.empty() || !std::isfinite(log_partition))
            throw backend_error{
                "scorer: the model's logits hold NaN or infinity, or forbid every "
                "token (log-partition " +
                std::to_string(log_partition) + ")"};
        std::vector<double> result;
        result.reserve(tokens.size());
        for (const token_id token : tokens)
            result.push_back(static_cast<double>(row[static_cast<std::size_t>(token)]) /
                                 options_.temperature -
                             log_partition);
        return result;
    }

    Policy policy_;
    Value value_;
    Anchor* anchor_ = nullptr;  // null: the policy is tilted
    decode_options options_;
    double kernel_seconds_ = 0;
    std::vector<token_view> views_;  // [states]
    // Workspaces, [top_k].
    std::vector<scored_token> top_;
    std::vector<scored_survivor> survivors_;
};

template <class Policy, class Value>
scorer(Policy&&, Value&&, decode_options = {})
    -> scorer<detail::usable_policy<Policy>, detail::usable_value<Value>>;
template <class Policy, class Value, class Anchor>
scorer(Policy&&, Value&&, Anchor&, decode_options = {}) -> scorer<Policy, Value, Anchor>;

}  // namespace tq
