#pragma once
// Greedy rollouts are determined by their prefix: once known, they are not computed again.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "../core/trajectory.hpp"
#include "engine.hpp"

namespace tq {

/// Remembers greedy rollouts. The continuation of [s, z] that begins with z' contains that of
/// [s, z, z']: after z was chosen, the candidate z' costs one new token instead of a whole rollout.
/// The rollouts are the same as without it.
class rollout_memory {
public:
    /// Rollouts that are kept, the latest ones.
    explicit rollout_memory(std::size_t capacity = 4096) : capacity_{capacity} {}

    /// What is known of a continuation; `finished` = it ends there.
    struct continuation {
        /// What comes next.
        token_view tokens = {};
        /// An end token comes after them.
        bool finished = false;
        /// False if nothing is remembered.
        bool found = false;  // some rollout went through here
    };

    /// The longest known continuation of `sequence` among rollouts that end at `end_tokens`, valid
    /// until remember() or forget().
    [[nodiscard]] continuation recall(token_view sequence, token_view end_tokens = {}) const {
        continuation best;
        const std::size_t wanted = set_of(end_tokens);
        for (const auto& [known, ends] : known_) {
            if (ends != wanted) continue;
            if (known.start > sequence.size() || known.sequence.size() < sequence.size()) continue;
            // Sequences of one prompt differ at their ends: compare from there.
            if (!std::equal(sequence.rbegin(), sequence.rend(),
                            known.sequence.rend() - static_cast<std::ptrdiff_t>(sequence.size())))
                continue;
            const token_view tokens = token_view{known.sequence}.subspan(sequence.size());
            if (known.finished || !best.found || tokens.size() > best.tokens.size())
                best = {tokens, known.finished, true};
            if (known.finished) break;
        }
        return best;
    }

    /// Keeps a rollout that ends at `end_tokens`: where answers end is part of the facts.
    void remember(const trajectory& rollout, token_view end_tokens = {}) {
        if (capacity_ == 0) return;
        std::size_t ends = set_of(end_tokens);
        if (ends == max_ends) {
            forget();
            ends = 0;
        }
        if (ends == ends_.size()) ends_.emplace_back(end_tokens.begin(), end_tokens.end());
        if (known_.size() < capacity_)
            known_.push_back({rollout, ends});
        else
            known_[oldest_++ % capacity_] = {rollout, ends};
    }
    /// Empties it.
    void forget() noexcept {
        known_.clear();
        ends_.clear();
        oldest_ = 0;
    }

private:
    static constexpr std::size_t max_ends = 64;  // sets of end tokens; with more, all is forgotten

    struct entry {
        trajectory rollout;
        std::size_t ends;  // which set of end tokens
    };

    /// Which set of end tokens these are; ends_.size() if they are new.
    [[nodiscard]] std::size_t set_of(token_view end_tokens) const {
        const auto same = [&](const token_list& ends) {
            return std::ranges::equal(ends, end_tokens);
        };
        return static_cast<std::size_t>(std::ranges::find_if(ends_, same) - ends_.begin());
    }

    std::size_t capacity_;
    std::vector<token_list> ends_;
    std::vector<entry> known_;  // a ring, once it is full
    std::size_t oldest_ = 0;
};

namespace detail {

/// What is remembered of each rollout, and the requests for the rest.
struct remembered_rollouts {
    remembered_rollouts(std::span<const rollout_request> requests, rollout_memory& memory) {
        for (const rollout_request& request : requests) {
            const rollout_memory::continuation known =
                memory.recall(request.sequence, request.end_tokens);
            trajectory& rollout = rollouts.emplace_back(start_of(request));
            rollout.recalled = known.found;
            rollout.known = (std::min)(known.tokens.size(), request.max_tokens);
            rollout.sequence.insert(
                rollout.sequence.end(), known.tokens.begin(),
                known.tokens.begin() + static_cast<std::ptrdiff_t>(rollout.known));
            rollout.finished = known.finished && rollout.known < request.max_tokens;
            rest.push_back(request);
            rest.back().max_tokens = rollout.finished ? 0 : request.max_tokens - rollout.known;
        }
        for (std::size_t i = 0; i < rest.size(); ++i) rest[i].sequence = rollouts[i].sequence;
    }

    /// Rollout i, as an engine has continued it: with what was remembered as its beginning.
    [[nodiscard]] trajectory whole(std::size_t i, const trajectory& continued) const {
        trajectory result = continued;
        result.start = rollouts[i].start;
        result.known = rollouts[i].known;
        result.recalled = rollouts[i].recalled;
        result.finished = continued.finished || rollouts[i].finished;
        return result;
    }

    std::vector<trajectory> rollouts;   // [requests] as far as they are known
    std::vector<rollout_request> rest;  // [requests] what is missing of each
};

/// Passes on what an engine says of the rest as what it means for the whole, and remembers it.
template <rollout_observer Observer>
struct remembering_observer {
    remembered_rollouts& known;
    rollout_memory& memory;
    Observer& observer;

    void ended(std::span<const std::size_t> which, std::span<const trajectory> all) {
        for (const std::size_t i : which) {
            known.rollouts[i] = known.whole(i, all[i]);
            if (known.rest[i].max_tokens > 0)
                memory.remember(known.rollouts[i], known.rest[i].end_tokens);
        }
        observer.ended(which, known.rollouts);
    }
    [[nodiscard]] bool wanted(std::size_t i) { return observer.wanted(i); }
};

}  // namespace detail

/// run_rollouts for rollouts that their prefix determines: what `memory` knows is not computed
/// again. The trajectories are the same as without it; `known` and `rows` say what was
/// saved. All calls with one memory must be about the same baseline and the same rule.
template <baseline Model, rollout_observer Observer = no_observer>
[[nodiscard]] std::vector<trajectory> run_remembered_rollouts(
    Model& model, std::span<const rollout_request> requests, sampling_rule rule,
    rollout_memory& memory, std::size_t in_flight = 0, Observer&& observer = {},
    rollout_stats* stats = nullptr) {
    detail::remembered_rollouts known{requests, memory};
    detail::remembering_observer<std::remove_reference_t<Observer>> watch{known, memory, observer};
    // The views of the rest are of known.rollouts: the engine has copied them before they change.
    const std::vector<trajectory> continued =
        run_rollouts(model, known.rest, rule, in_flight, watch, stats);
    for (std::size_t i = 0; i < continued.size(); ++i)
        known.rollouts[i] = known.whole(i, continued[i]);
    return std::move(known.rollouts);
}

}  // namespace tq
