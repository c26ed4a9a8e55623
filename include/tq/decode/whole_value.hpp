#pragma once
// A race with values that come whole.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../core/error.hpp"

namespace tq {

/// A bounded_value as a sampled_value, for the time of one race: each Q counts as a single rollout in
/// the value's range, so that candidates which cannot win are never evaluated.
template <bounded_value Value>
class whole_value {
public:
    /// Holds a reference.
    explicit whole_value(Value& value) noexcept : value_{&value} {}

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) { value_->evaluate(queries); }
    /// One: the value itself.
    [[nodiscard]] std::size_t rollouts(const decode_state&, token_id) const noexcept { return 1; }
    /// Model tokens that a rollout may cost, at most.
    [[nodiscard]] std::size_t cost(const decode_state& state) const { return value_->cost(state); }
    /// What every value lies in.
    [[nodiscard]] reward_range range() const { return value_->range(); }

    /// Models sampled_value: `rewards` are Q values.
    void sample(std::span<rollout_query> queries) {
        const std::size_t before = known_.size();
        for (const rollout_query& query : queries)
            known_.push_back({query.state.sequence, query.candidate, {}});
        std::vector<value_query> asked;
        for (std::size_t i = 0; i < queries.size(); ++i) {
            entry& place = known_[before + i];
            asked.push_back({queries[i].state, {&place.candidate, 1}, {&place.value, 1}});
        }
        value_->evaluate(asked);
        for (std::size_t i = 0; i < queries.size(); ++i) {
            queries[i].rewards.front() = known_[before + i].value.q;
            queries[i].spent = known_[before + i].value.spent;
        }
    }

    /// What is known of the candidate.
    [[nodiscard]] value_estimate combine(const decode_state& state, token_id candidate,
                                         std::span<const double>) const {
        for (const entry& known : known_)
            if (known.candidate == candidate && known.sequence.data() == state.sequence.data()) {
                value_estimate value = known.value;
                value.spent = {};
                return value;
            }
        throw backend_error{"whole_value: token " + std::to_string(candidate) +
                            " has not been evaluated"};
    }

private:
    struct entry {
        token_view sequence;  // of the state
        token_id candidate;
        value_estimate value;
    };

    Value* value_;
    std::vector<entry> known_;
};

}  // namespace tq
