#pragma once
// any_action_value: one type for every action value, chosen at run time.

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "../concepts/action_value.hpp"

namespace tq {

/// An action value of any type, for those who choose it at run time or keep it behind a C erased.
///
///     tq::any_action_value q = tq::direct_transfer{baseline, reward};   // moved in
///     tq::any_action_value q{transfer};                                 // held by reference
///
/// It is a bounded_value: a race drops candidates that cannot win before they are evaluated. What
/// the type forgets is single rollouts, so none is given up half-way; a value's own type races
/// better. A value that states no range, or no cost, has an infinite one, or 1.
/// Copies share the value. As thread-safe as the value.
class any_action_value {
public:
    /// An lvalue is held by reference and must outlive this and its copies; an rvalue is moved in.
    template <class Value>
    requires(!std::same_as<std::remove_cvref_t<Value>, any_action_value> &&
             action_value<std::remove_reference_t<Value>>)
        any_action_value(Value&& value)  // NOLINT: converts as std::function does
        : value_{std::make_shared<model<Value>>(std::forward<Value>(value))} {}

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) { value_->evaluate(queries); }
    /// What every value lies in.
    [[nodiscard]] reward_range range() const { return value_->range(); }
    /// Model tokens that a rollout may cost, at most.
    [[nodiscard]] std::size_t cost(const decode_state& state) const { return value_->cost(state); }

private:
    struct erased {
        erased() = default;
        erased(const erased&) = delete;
        erased& operator=(const erased&) = delete;
        virtual ~erased() = default;
        virtual void evaluate(std::span<const value_query> queries) = 0;
        [[nodiscard]] virtual reward_range range() = 0;
        [[nodiscard]] virtual std::size_t cost(const decode_state& state) = 0;
    };

    template <class Value>
    struct model final : erased {
        explicit model(Value&& held) : value(std::forward<Value>(held)) {}
        void evaluate(std::span<const value_query> queries) override { value.evaluate(queries); }
        [[nodiscard]] reward_range range() override { return value_range(value); }
        [[nodiscard]] std::size_t cost(const decode_state& state) override {
            if constexpr (bounded_value<std::remove_reference_t<Value>>)
                return value.cost(state) * rollouts(state);
            else
                return 1;
        }
        /// That an evaluation of one candidate takes.
        [[nodiscard]] std::size_t rollouts(const decode_state& state) {
            if constexpr (piecewise_value<std::remove_reference_t<Value>>)
                return value.rollouts(state, token_id{-1});
            else
                return 1;
        }
        Value value;
    };

    std::shared_ptr<erased> value_;
};

}  // namespace tq
