#pragma once
// What look-ahead has read before a step: what is counted as model tokens depends on it.

#include <cstddef>

#include "../core/trajectory.hpp"

namespace tq::detail {

/// Asks an action value what it has read; one that does not tell has read what decode_state says,
/// with models of its own.
template <class Value>
struct read_ahead {
    const Value& value;

    /// Are its rollouts written by this model?
    [[nodiscard]] bool reads_with(const void* model) const {
        if constexpr (requires { value.reads_with(model); })
            return model != nullptr && value.reads_with(model);
        else
            return false;
    }

    /// Tokens at the answer's end that it has not read.
    [[nodiscard]] std::size_t unread(const decode_state& state) const {
        if constexpr (requires { value.unread(state); })
            return value.unread(state);
        else
            return state.unread;
    }

    /// Has this model the state's row from looking ahead?
    [[nodiscard]] bool has_row(const void* model, const decode_state& state) const {
        return !state.answer().empty() && reads_with(model) && unread(state) == 0;
    }
};

}  // namespace tq::detail
