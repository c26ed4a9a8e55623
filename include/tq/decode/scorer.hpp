#pragma once
// The scorer: candidates, their Q, and the tilted distribution.

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
#include "../kernels/log_sum_exp.hpp"
#include "../kernels/tilt.hpp"
#include "candidates.hpp"
#include "options.hpp"
#include "race.hpp"
#include "read_ahead.hpp"
#include "selection.hpp"
#include "step.hpp"

namespace tq {

/// Turns states into tilted distributions p(z|s) ∝ prior(z|s) exp(Q(s,z) / alpha).
///
/// The prior is the policy (the paper's decoder), or another `anchor`: anchored at the baseline,
/// exact Q never does worse than the baseline itself, over the whole vocabulary (a cut to top_k
/// may). Divergence is always measured against the
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
        static_cast<void>(race(race_mode::exhaustive, states, result));
        for (std::size_t i = 0; i < states.size(); ++i) close(result[i], states[i]);
        return result;
    }

    /// The race of what propose() found, and what look-ahead had to read before it.
    [[nodiscard]] std::vector<race_outcome> race(race_mode mode,
                                                 std::span<const decode_state> states,
                                                 std::span<tilted_distribution> found) {
        const detail::read_ahead<value_type> ahead{value_};
        std::vector<std::size_t> unread;
        for (const decode_state& state : states) unread.push_back(ahead.unread(state));
        std::vector<race_outcome> outcomes = run_race(value_, options_, mode, states, found);
        const bool reads_on = ahead.reads_with(&policy_) || ahead.reads_with(anchor_);
        for (std::size_t i = 0; i < states.size(); ++i) {
            model_tokens& spent = found[i].spent;
            if (spent.baseline > 0 && !reads_on) spent.baseline += unread[i];
            if (spent.reward > 0) spent.reward += unread[i];
        }
        return outcomes;
    }

    /// The first half of score: candidates and their log-probabilities, Q still unknown (NaN). They
    /// are the top_k likeliest tokens of the prior.
    ///
    /// For a race that is won by the largest log prior(z) + noise(z) + Q(z) / alpha, where all Q /
    /// alpha lie within a finite `reach` of each other, they are the top_k tokens of the largest
    /// log prior(z) + noise(z), less those that cannot win.
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
            detail::row_candidates found =
                std::isfinite(reach) ? finder_.contenders(rows[i], options_, states[i].key, reach)
                                     : finder_.likeliest(rows[i], options_);
            result[i].tokens = std::move(found.tokens);
            result[i].log_prior = detail::log_probabilities(
                rows[i], result[i].tokens, options_.temperature, found.log_partition);
            result[i].spent.policy = rows_read(states[i]);
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
    using value_type = std::remove_reference_t<Value>;

    void refuse_what_the_value_cannot() const {
        check_option(piecewise_value<value_type> || options_.race != race_mode::confident, "scorer",
                     "race", options_.race,
                     "exhaustive or exact: this value's Q does not come piece by piece");
        check_option(bounded_value<value_type> || std::isinf(options_.token_budget), "scorer",
                     "token_budget", options_.token_budget,
                     "inf: this value does not say what it costs (no `range()` and `cost(state)`)");
    }

    /// Rows that policy and anchor must read.
    [[nodiscard]] std::size_t rows_read(const decode_state& state) const {
        const detail::read_ahead<value_type> ahead{value_};
        return (ahead.has_row(&policy_, state) ? 0 : 1) +
               (anchor_ == nullptr || ahead.has_row(anchor_, state) ? 0 : 1);
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
            result[i].log_pi =
                detail::log_probabilities(rows[i], result[i].tokens, options_.temperature,
                                          log_sum_exp(rows[i], options_.temperature));
    }

    Policy policy_;
    Value value_;
    Anchor* anchor_ = nullptr;  // null: the policy is tilted
    decode_options options_;
    double kernel_seconds_ = 0;
    std::vector<token_view> views_;  // [states]
    detail::candidate_finder finder_;
};

template <class Policy, class Value>
scorer(Policy&&, Value&&, decode_options = {})
    -> scorer<detail::usable_policy<Policy>, detail::usable_value<Value>>;
template <class Policy, class Value, class Anchor>
scorer(Policy&&, Value&&, Anchor&, decode_options = {}) -> scorer<Policy, Value, Anchor>;

}  // namespace tq
