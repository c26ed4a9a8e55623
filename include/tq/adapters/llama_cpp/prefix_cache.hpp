#pragma once
// prefix_cache: which sequence goes into which slot of the KV cache, so that little is decoded.
//
// Plain bookkeeping, no model. A slot is one sequence id of the KV cache; several slots may share
// the cells of a common prefix (copying a prefix only marks its cells, it moves nothing).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "../../core/token.hpp"

namespace tq::llama_cpp::detail {

/// Length of the longest common prefix.
[[nodiscard]] inline std::size_t common_prefix(token_view a, token_view b) noexcept {
    const std::size_t size = (std::min)(a.size(), b.size());
    return static_cast<std::size_t>(
        std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(size), b.begin()).first -
        a.begin());
}

/// Where a sequence lies, and how much of it needs no decoding: 0 <= cached < its size.
struct cache_place {
    std::size_t slot = 0;
    std::size_t cached = 0;
};

/// One change of the KV cache: keep only the first `keep` tokens of `slot`, or (copy) give it the
/// first `keep` tokens of `source` as well.
struct cache_step {
    std::size_t slot = 0;
    std::size_t keep = 0;
    bool copy = false;
    std::size_t source = 0;
};

/// Places for a call's sequences, and the steps that must come before decoding, in order.
struct cache_plan {
    std::vector<cache_place> places;  // [sequences]
    std::vector<cache_step> steps;
};

class prefix_cache {
public:
    explicit prefix_cache(std::size_t count) : slots_(count) {}

    [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }
    void clear() { slots_.assign(slots_.size(), slot{}); }

    /// Gives each of the sequences (distinct, not empty, at most size()) a slot. From then on the
    /// slots count as filled: decode what is missing, or call clear().
    ///
    /// Each sequence looks for the slot with which it shares the longest prefix. A slot that it
    /// merely extends it takes over; otherwise the prefix is copied into an empty slot, or into the
    /// least recently used one that nobody needs. If these run out, sequences take over the very
    /// slot that they would copy from, and it is cut to the prefix. That always suffices: let p
    /// sequences be left, f slots that nobody needs, u that are copied from. Sequences never
    /// outnumber slots, so p <= f + u, and each of the u can be taken over by one that copies it.
    [[nodiscard]] cache_plan place(std::span<const token_view> sequences) {
        cache_plan plan;
        plan.places.reserve(sequences.size());
        for (const token_view sequence : sequences) plan.places.push_back(best_match(sequence));
        ++clock_;
        std::vector<std::size_t> pending = extend(sequences, plan.places);
        std::vector<std::size_t> unneeded = find_unneeded(plan.places, pending);
        take_over(plan.places, pending, unneeded.size());
        copy(plan, pending, unneeded);
        for (std::size_t i = 0; i < sequences.size(); ++i) fill(plan, i, sequences[i]);
        return plan;
    }

    /// Counts the slot that holds `sequence`, if there is one, as used by the last call.
    void touch(token_view sequence) {
        for (slot& s : slots_)
            if (common_prefix(s.tokens, sequence) == sequence.size()) {
                s.used = (std::max)(s.used, clock_);
                return;
            }
    }

    /// Makes room: of the slots that the last call did not use, the most recently used ones stay as
    /// they are, until the cells that only they hold number `whole`. The others are cut to where
    /// they branch off from another slot (a prompt and its answer so far, which are needed again;
    /// the ends of old rollouts are not) while these cells number at most `prefixes`, and emptied
    /// after that. Returns how far slots were cut; the cells beyond must be freed.
    [[nodiscard]] std::vector<cache_step> trim(std::size_t whole, std::size_t prefixes) {
        std::vector<std::size_t> kept, stale;
        for (std::size_t s = 0; s < slots_.size(); ++s)
            if (!slots_[s].tokens.empty()) (taken(s) ? kept : stale).push_back(s);
        std::stable_sort(stale.begin(), stale.end(), [&](std::size_t a, std::size_t b) {
            return slots_[a].used > slots_[b].used;
        });
        std::vector<cache_step> cuts;
        std::size_t whole_cells = 0, prefix_cells = 0;
        for (const std::size_t s : stale) {
            token_list& tokens = slots_[s].tokens;
            const std::size_t shared = shared_with(kept, s);
            if (whole_cells + tokens.size() - shared <= whole) {
                whole_cells += tokens.size() - shared;
            } else {
                std::size_t keep = branch_point(s);
                if (prefix_cells + keep - (std::min)(keep, shared) > prefixes) keep = 0;
                prefix_cells += keep - (std::min)(keep, shared);
                if (keep == tokens.size()) {
                    kept.push_back(s);
                    continue;
                }
                cuts.push_back({.slot = s, .keep = keep});
                tokens.resize(keep);
            }
            if (tokens.empty())
                slots_[s] = slot{};
            else
                kept.push_back(s);
        }
        return cuts;
    }

private:
    struct slot {
        token_list tokens;
        std::uint64_t used = 0;  // clock of the last call that used it
    };

    [[nodiscard]] bool taken(std::size_t s) const { return slots_[s].used == clock_; }

    /// The last token is never taken from the cache: decoding it gives the row that is wanted.
    [[nodiscard]] cache_place best_match(token_view sequence) const {
        cache_place best;
        bool extends = false;
        for (std::size_t s = 0; s < slots_.size(); ++s) {
            const token_list& tokens = slots_[s].tokens;
            if (tokens.size() < best.cached || tokens.empty()) continue;
            const std::size_t shared = common_prefix(tokens, sequence);
            const std::size_t cached = (std::min)(shared, sequence.size() - 1);
            const bool whole = shared == tokens.size();
            if (cached == 0 || cached < best.cached) continue;
            if (cached == best.cached && (extends || !whole)) continue;  // prefer one to extend
            best = {s, cached};
            extends = whole;
        }
        return best;
    }

    /// Slots that a sequence merely extends become its own. Returns the sequences without one.
    std::vector<std::size_t> extend(std::span<const token_view> sequences,
                                    const std::vector<cache_place>& places) {
        std::vector<std::size_t> pending;
        for (std::size_t i = 0; i < places.size(); ++i) {
            const auto [s, cached] = places[i];
            const std::size_t held = slots_[s].tokens.size();
            const bool extends = cached > 0 && held <= sequences[i].size() &&
                                 common_prefix(slots_[s].tokens, sequences[i]) == held;
            if (extends && !taken(s))
                slots_[s].used = clock_;
            else
                pending.push_back(i);
        }
        return pending;
    }

    /// Slots that are neither taken nor copied from: empty ones last, before them the least
    /// recently used ones (they are handed out from the back).
    [[nodiscard]] std::vector<std::size_t> find_unneeded(
        const std::vector<cache_place>& places, const std::vector<std::size_t>& pending) const {
        std::vector<bool> needed(slots_.size());
        for (const std::size_t i : pending)
            if (places[i].cached > 0) needed[places[i].slot] = true;
        std::vector<std::size_t> unneeded;
        for (std::size_t s = 0; s < slots_.size(); ++s)
            if (!needed[s] && !taken(s)) unneeded.push_back(s);
        const auto age = [&](std::size_t s) {
            return slots_[s].tokens.empty() ? 0 : slots_[s].used;
        };
        std::stable_sort(unneeded.begin(), unneeded.end(),
                         [&](std::size_t a, std::size_t b) { return age(a) > age(b); });
        return unneeded;
    }

    /// Lets sequences take over the slots that they would copy from, until `free` slots suffice.
    void take_over(const std::vector<cache_place>& places, std::vector<std::size_t>& pending,
                   std::size_t free) {
        std::vector<std::size_t> left;
        for (std::size_t n = 0; n < pending.size(); ++n) {
            const auto [s, cached] = places[pending[n]];
            const bool enough = left.size() + (pending.size() - n) <= free;
            if (!enough && cached > 0 && !taken(s))
                slots_[s].used = clock_;
            else
                left.push_back(pending[n]);
        }
        pending = std::move(left);
    }

    void copy(cache_plan& plan, const std::vector<std::size_t>& pending,
              std::vector<std::size_t>& unneeded) {
        for (const std::size_t i : pending) {
            const auto [source, cached] = plan.places[i];
            const std::size_t s = unneeded.back();
            unneeded.pop_back();
            if (!slots_[s].tokens.empty()) plan.steps.push_back({.slot = s});
            if (cached > 0)
                plan.steps.push_back({.slot = s, .keep = cached, .copy = true, .source = source});
            const auto kept = slots_[source].tokens.begin() + static_cast<std::ptrdiff_t>(cached);
            slots_[s] = {
                cached > 0 ? token_list(slots_[source].tokens.begin(), kept) : token_list{},
                clock_};
            plan.places[i].slot = s;
        }
    }

    /// Cuts the slot of sequence i to what is cached (after all copies) and notes the rest.
    void fill(cache_plan& plan, std::size_t i, token_view sequence) {
        const auto [s, cached] = plan.places[i];
        token_list& tokens = slots_[s].tokens;
        if (tokens.size() > cached) plan.steps.push_back({.slot = s, .keep = cached});
        tokens.resize(cached);
        tokens.insert(tokens.end(), sequence.begin() + static_cast<std::ptrdiff_t>(cached),
                      sequence.end());
    }

    [[nodiscard]] std::size_t shared_with(const std::vector<std::size_t>& others,
                                          std::size_t s) const {
        std::size_t longest = 0;
        for (const std::size_t other : others)
            longest = (std::max)(longest, common_prefix(slots_[other].tokens, slots_[s].tokens));
        return longest;
    }

    /// Where slot s branches off from the one it is most like; its end if it is alone.
    [[nodiscard]] std::size_t branch_point(std::size_t s) const {
        const token_list& tokens = slots_[s].tokens;
        std::size_t longest = 0;
        for (std::size_t other = 0; other < slots_.size(); ++other)
            if (other != s)
                longest = (std::max)(longest, common_prefix(slots_[other].tokens, tokens));
        return longest == 0 ? tokens.size() : longest;
    }

    std::vector<slot> slots_;
    std::uint64_t clock_ = 0;
};

}  // namespace tq::llama_cpp::detail
