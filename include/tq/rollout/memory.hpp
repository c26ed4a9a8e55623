#pragma once
// Greedy continuations are facts: once known, they need not be computed again.

#include <algorithm>
#include <cstddef>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "../core/trajectory.hpp"
#include "engine.hpp"

namespace tq {

/// Remembers greedy rollouts. The greedy continuation of [s, z] that begins with z' contains that of
/// [s, z, z']: after z was chosen, the candidate z' costs one new token instead of a whole rollout.
///
/// This is exact, and no bias arises from keeping what was chosen: a greedy rollout has no chance in
/// it. (Sampled rollouts are another matter: a remainder kept because its reward won is optimistic.)
class greedy_memory {
public:
    /// Rollouts that are kept, the latest ones.
    explicit greedy_memory(std::size_t capacity = 1024) : capacity_{capacity} {}

    /// What is known of a continuation; `finished` = it ends there.
    struct continuation {
        token_view tokens;
        bool finished = false;
    };

    /// The longest known greedy continuation of `sequence`, valid until remember() or forget().
    [[nodiscard]] continuation recall(token_view sequence) const {
        continuation best;
        for (const trajectory& known : known_) {
            if (known.start > sequence.size() || known.sequence.size() < sequence.size()) continue;
            // Sequences of one prompt differ at their ends: compare from there.
            if (!std::equal(sequence.rbegin(), sequence.rend(),
                            known.sequence.rend() - static_cast<std::ptrdiff_t>(sequence.size())))
                continue;
            const token_view tokens = token_view{known.sequence}.subspan(sequence.size());
            if (known.finished || tokens.size() > best.tokens.size())
                best = {tokens, known.finished};
            if (known.finished) break;
        }
        return best;
    }

    void remember(const trajectory& rollout) {
        if (known_.size() == capacity_) known_.pop_front();
        known_.push_back(rollout);
    }
    void forget() noexcept { known_.clear(); }

    /// Where answers end is part of the facts: with other end tokens than before, all is forgotten.
    void set_end_tokens(token_view end_tokens) {
        if (std::equal(end_tokens.begin(), end_tokens.end(), end_tokens_.begin(),
                       end_tokens_.end()))
            return;
        end_tokens_.assign(end_tokens.begin(), end_tokens.end());
        forget();
    }

private:
    std::size_t capacity_;
    token_list end_tokens_;
    std::deque<trajectory> known_;
};

/// run_rollouts for greedy rollouts: what `memory` knows is not computed again. The trajectories are
/// the same as without it. All calls with one memory must be about the same baseline.
template <baseline Model>
[[nodiscard]] std::vector<trajectory> run_greedy_rollouts(Model& model,
                                                          std::span<const rollout_request> requests,
                                                          greedy_memory& memory,
                                                          std::size_t slots = 0) {
    std::vector<trajectory> rollouts;   // as far as they are known
    std::vector<rollout_request> rest;  // what is missing of each
    for (const rollout_request& request : requests) {
        trajectory& rollout = rollouts.emplace_back(detail::start_of(request));
        memory.set_end_tokens(request.end_tokens);
        const greedy_memory::continuation known = memory.recall(request.sequence);
        const std::size_t size = std::min(known.tokens.size(), request.max_tokens);
        rollout.sequence.insert(rollout.sequence.end(), known.tokens.begin(),
                                known.tokens.begin() + static_cast<std::ptrdiff_t>(size));
        rollout.finished = known.finished && size < request.max_tokens;
        rest.push_back(request);
        rest.back().max_tokens = rollout.finished ? 0 : request.max_tokens - size;
    }
    for (std::size_t i = 0; i < rest.size(); ++i) rest[i].sequence = rollouts[i].sequence;

    std::vector<trajectory> extended =
        run_rollouts(model, rest, {.temperature = 0, .top_p = 1}, slots);
    for (std::size_t i = 0; i < rest.size(); ++i) {
        if (rest[i].max_tokens == 0) continue;
        extended[i].start = rollouts[i].start;
        rollouts[i] = std::move(extended[i]);
        memory.set_end_tokens(rest[i].end_tokens);
        memory.remember(rollouts[i]);
    }
    return rollouts;
}

}  // namespace tq
