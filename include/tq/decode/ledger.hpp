#pragma once
// What answers have spent so far, where somebody else keeps the loop.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>

#include "../core/random.hpp"
#include "../core/trajectory.hpp"
#include "step.hpp"

namespace tq {

/// The account of answers whose loop is somebody else's: each state is recognised as the one before
/// and a token more. Budgets (kl_per_answer, token_budget) then hold as in generation, and every
/// position has random numbers of its own.
///
/// Two answers that are equal so far are one to it, with the same random numbers: give them keys.
class ledger {
public:
    /// States that are kept, the latest ones: more than the answers that are written at once.
    explicit ledger(std::size_t capacity = 4096) : capacity_{capacity} {}

    /// The state with what is known of it filled in where it has nothing: spent, unread and kl of
    /// the steps before, and the key that generate(prompt, length, 0) would use with this seed.
    [[nodiscard]] decode_state filled(decode_state state, std::uint64_t seed) const {
        const std::size_t emitted = state.answer().size();
        if (state.key.value() == random_key{}.value())
            state.key = random_key{seed}.fold_in(0).fold_in(emitted);
        if (emitted == 0) return state;
        const auto found = entries_.find(name_of(state.sequence.first(state.sequence.size() - 1)));
        if (found == entries_.end()) return state;
        if (state.spent == 0) state.spent = found->second.spent;
        if (state.unread == 0) state.unread = found->second.unread;
        if (state.kl == 0) state.kl = found->second.kl;
        return state;
    }

    /// A decision in a state that filled() has seen. Of what cost nothing, or is unknown, nothing
    /// is added.
    void record(const decode_state& state, const model_tokens& spent, double kl,
                std::size_t unread) {
        if (capacity_ == 0) return;
        const std::uint64_t name = name_of(state.sequence);
        if (entries_.find(name) == entries_.end()) {
            if (order_.size() == capacity_) {
                entries_.erase(order_.front());
                order_.pop_front();
            }
            order_.push_back(name);
        }
        entries_[name] = {.spent = state.spent + spent.baseline + spent.reward,
                          .unread = unread,
                          .kl = state.kl + (kl > 0 ? kl : 0)};
    }

private:
    struct entry {
        std::size_t spent = 0, unread = 0;
        double kl = 0;
    };

    [[nodiscard]] static std::uint64_t name_of(token_view sequence) noexcept {
        random_key name;
        for (const token_id token : sequence)
            name = name.fold_in(static_cast<std::uint64_t>(token));
        return name.value();
    }

    std::size_t capacity_;
    std::unordered_map<std::uint64_t, entry> entries_;
    std::deque<std::uint64_t> order_;  // of their names, the oldest first
};

}  // namespace tq
