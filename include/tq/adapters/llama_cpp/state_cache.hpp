#pragma once
// state_cache: which states of a recurrent model are kept, and which others grow out of them.
//
// Plain bookkeeping, no model. A recurrent state cannot be cut to a prefix, but it can be copied.
// So a slot holds the state after exactly its tokens, and serves only sequences that begin with all
// of them. Where sequences of a call branch off, a slot is left with the state at that point.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "../../core/token.hpp"
#include "prefix_cache.hpp"

namespace tq::llama_cpp::detail {

inline constexpr std::size_t none = static_cast<std::size_t>(-1);

/// A state to reach by decoding: tokens from `cached` on, in `slot`.
struct state_target {
    token_view tokens;
    std::size_t owner = 0;  // index of the sequence; beyond them all: only others grow out of it
    std::size_t slot = none;
    std::size_t cached = 0;
};

/// Steps to carry out, and then what to decode, all together.
struct state_round {
    std::vector<cache_step> steps;
    std::vector<state_target> targets;
};

class state_cache {
public:
    explicit state_cache(std::size_t count) : slots_(count) {}

    void clear() { slots_.assign(slots_.size(), slot{}); }

    /// How to reach the states of the sequences (distinct, not empty, ascending, at most as many as
    /// slots). From then on the slots count as filled: decode all rounds in order, or call clear().
    ///
    /// Whoever is alone in growing out of a slot takes it over; but every `spacing` tokens a copy
    /// stays behind, while slots are left. If several do, all take copies; if slots run out, the
    /// last takes it over. That suffices: targets of a round do not begin one another, so they are
    /// no more than the sequences.
    [[nodiscard]] std::vector<state_round> plan(std::span<const token_view> sequences) {
        ++clock_;
        for (slot& s : slots_)
            if (std::ranges::any_of(sequences, [&](token_view q) { return begins(s.tokens, q); }))
                s.used = clock_;
        std::vector<node> nodes = tree(sequences);
        std::vector<state_round> rounds;
        for (std::size_t depth = 0; place(nodes, depth, rounds); ++depth) continue;
        return rounds;
    }

    /// Counts the state after `sequence`, if it is there, as used by the last call.
    void touch(token_view sequence) {
        for (slot& s : slots_)
            if (std::ranges::equal(s.tokens, sequence)) s.used = clock_;
    }

    /// Empties slots that the last call did not use, the least recently used ones first, until
    /// attention to all tokens needs no more than `most` cells. Returns which.
    [[nodiscard]] std::vector<cache_step> trim(std::size_t most) {
        std::vector<cache_step> steps;
        std::vector<std::size_t> stale = free_slots(std::vector<std::size_t>(slots_.size()));
        while (!stale.empty() && cells() > most) {
            slot& oldest = slots_[stale.back()];
            if (is_stale(oldest) && !oldest.tokens.empty()) {
                steps.push_back({.slot = stale.back()});
                oldest = slot{};
            }
            stale.pop_back();
        }
        return steps;
    }

private:
    static constexpr std::size_t spacing = 32;

    struct slot {
        token_list tokens;
        std::uint64_t used = 0;  // clock of the last call that used it
    };

    struct node {
        state_target target;
        std::optional<std::size_t> source;  // slot
        std::optional<std::size_t> parent;  // node, of the round before
        std::size_t depth = 0;              // round
    };

    [[nodiscard]] static bool begins(token_view prefix, token_view sequence) {
        return common_prefix(prefix, sequence) == prefix.size();
    }
    [[nodiscard]] static bool precedes(token_view a, token_view b) {
        return std::ranges::lexicographical_compare(a, b);
    }
    [[nodiscard]] bool is_stale(const slot& s) const { return s.tokens.empty() || s.used < clock_; }

    /// The slot with the longest state that begins `sequence` and is shorter.
    [[nodiscard]] std::optional<std::size_t> longest(token_view sequence) const {
        std::optional<std::size_t> best;
        for (std::size_t s = 0; s < slots_.size(); ++s) {
            const token_list& tokens = slots_[s].tokens;
            if (tokens.empty() || tokens.size() >= sequence.size() || !begins(tokens, sequence))
                continue;
            if (!best || tokens.size() > slots_[*best].tokens.size()) best = s;
        }
        return best;
    }

    [[nodiscard]] node node_of(token_view tokens, std::size_t owner) const {
        const std::optional<std::size_t> source = longest(tokens);
        return {{tokens, owner, none, source ? slots_[*source].tokens.size() : 0}, source, {}, 0};
    }

    /// The sequences and where neighbours branch, prefixes first, each with what it grows out of.
    [[nodiscard]] std::vector<node> tree(std::span<const token_view> sequences) const {
        std::vector<node> nodes;
        for (std::size_t i = 0; i < sequences.size(); ++i)
            nodes.push_back(node_of(sequences[i], i));
        for (std::size_t i = 1; i < sequences.size(); ++i) {
            const std::size_t shared = common_prefix(sequences[i - 1], sequences[i]);
            if (shared > (std::max)(nodes[i - 1].target.cached, nodes[i].target.cached))
                nodes.push_back(node_of(sequences[i].first(shared), nodes.size()));
        }
        const auto tokens = [](const node& n) { return n.target.tokens; };
        std::stable_sort(nodes.begin(), nodes.end(), [&](const node& a, const node& b) {
            return precedes(tokens(a), tokens(b));
        });
        const auto end = std::unique(nodes.begin(), nodes.end(), [&](const node& a, const node& b) {
            return std::ranges::equal(tokens(a), tokens(b));
        });
        nodes.erase(end, nodes.end());
        std::vector<std::size_t> open;  // nodes that begin the present one
        for (std::size_t n = 0; n < nodes.size(); ++n) {
            state_target& target = nodes[n].target;
            while (!open.empty() && !begins(nodes[open.back()].target.tokens, target.tokens))
                open.pop_back();
            if (!open.empty() && nodes[open.back()].target.tokens.size() > target.cached) {
                nodes[n].parent = open.back();
                nodes[n].depth = nodes[open.back()].depth + 1;
                target.cached = nodes[open.back()].target.tokens.size();
            }
            open.push_back(n);
        }
        return nodes;
    }

    /// Gives the nodes of a round their slots. False if there are none.
    [[nodiscard]] bool place(std::vector<node>& nodes, std::size_t depth,
                             std::vector<state_round>& rounds) {
        std::vector<node*> level;
        std::vector<std::size_t> users(slots_.size());
        for (node& n : nodes) {
            if (n.depth != depth) continue;
            if (n.parent) n.source = nodes[*n.parent].target.slot;
            if (n.source) ++users[*n.source];
            level.push_back(&n);
        }
        if (level.empty()) return false;
        rounds.emplace_back();
        std::vector<std::size_t> free = free_slots(users);
        choose_heirs(level, users, free);
        for (node* n : level) {
            if (n->target.slot == none) take_free(*n, free, rounds);
            const token_view tokens = n->target.tokens;
            slots_[n->target.slot] = {token_list(tokens.begin(), tokens.end()), clock_};
            rounds.back().targets.push_back(n->target);
        }
        return true;
    }

    /// Slots without users, to hand out from the back: empty ones last, then the oldest.
    [[nodiscard]] std::vector<std::size_t> free_slots(const std::vector<std::size_t>& users) const {
        std::vector<std::size_t> free;
        for (std::size_t s = 0; s < slots_.size(); ++s)
            if (users[s] == 0) free.push_back(s);
        const auto age = [&](std::size_t s) {
            return slots_[s].tokens.empty() ? 0 : slots_[s].used;
        };
        std::stable_sort(free.begin(), free.end(),
                         [&](std::size_t a, std::size_t b) { return age(a) > age(b); });
        return free;
    }

    /// Lets nodes take over the slots that they grow out of.
    void choose_heirs(const std::vector<node*>& level, const std::vector<std::size_t>& users,
                      const std::vector<std::size_t>& free) const {
        const auto lone = [&](const node* n) { return n->source && users[*n->source] == 1; };
        auto wanted = static_cast<std::size_t>(std::ranges::count_if(level, std::not_fn(lone)));
        const auto spare = static_cast<std::size_t>(
            std::ranges::count_if(free, [&](std::size_t s) { return is_stale(slots_[s]); }));
        for (node* n : level) {
            if (!lone(n)) continue;
            if (wanted < spare && is_far(slots_[*n->source].tokens))
                ++wanted;
            else
                n->target.slot = *n->source;
        }
        std::vector<std::size_t> left = users;
        for (node* n : level)
            if (n->source && !lone(n) && --left[*n->source] == 0 && wanted > free.size()) {
                n->target.slot = *n->source;
                --wanted;
            }
    }

    /// True if the states before it are `spacing` tokens away.
    [[nodiscard]] bool is_far(token_view state) const {
        const std::optional<std::size_t> before = longest(state);
        return state.size() - (before ? slots_[*before].tokens.size() : 0) >= spacing;
    }

    void take_free(node& n, std::vector<std::size_t>& free, std::vector<state_round>& rounds) {
        state_target& target = n.target;
        target.slot = free.back();
        free.pop_back();
        const slot& held = slots_[target.slot];
        if (!held.tokens.empty())
            (is_stale(held) ? rounds.front() : rounds.back())
                .steps.push_back({.slot = target.slot});
        if (n.source)
            rounds.back().steps.push_back(
                {.slot = target.slot, .keep = target.cached, .copy = true, .source = *n.source});
    }

    /// Cells for attention to all tokens; what slots share counts once.
    [[nodiscard]] std::size_t cells() const {
        std::vector<token_view> held;
        for (const slot& s : slots_) held.emplace_back(s.tokens);
        std::sort(held.begin(), held.end(), precedes);
        std::size_t sum = 0;
        for (std::size_t i = 0; i < held.size(); ++i)
            sum += held[i].size() - (i == 0 ? 0 : common_prefix(held[i - 1], held[i]));
        return sum;
    }

    std::vector<slot> slots_;
    std::uint64_t clock_ = 0;
};

}  // namespace tq::llama_cpp::detail
