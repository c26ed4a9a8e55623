#pragma once
// row_cache: the output rows of sequences seen lately, so that none is decoded twice.
//
// A KV cache spares a sequence's prefix, not its last token: the row that follows it was never
// kept. Yet rows come again: after a token was chosen, policy and anchor are asked about a sequence
// that a rollout went through, and the reward about an answer that it has judged.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "../../core/token.hpp"

namespace tq::llama_cpp::detail {

class row_cache {
public:
    explicit row_cache(std::size_t capacity) : capacity_{capacity} {}

    /// Begins a call: rows that are found or kept from now on stay until the next begin().
    void begin() noexcept { ++clock_; }

    [[nodiscard]] std::optional<logits_view> find(token_view sequence) {
        const auto found = index_.find(hash(sequence));
        if (found == index_.end()) return std::nullopt;
        entry& known = entries_[found->second];
        if (!std::equal(known.sequence.begin(), known.sequence.end(), sequence.begin(),
                        sequence.end()))
            return std::nullopt;
        known.used = clock_;
        return known.row;
    }

    /// Copies a row in the place of the least recently used one. Returns the copy, or nothing if
    /// all places are in use by the present call.
    std::optional<logits_view> keep(token_view sequence, logits_view row) {
        const std::optional<std::size_t> place = free_place();
        if (!place) return std::nullopt;
        entry& kept = entries_[*place];
        kept.sequence.assign(sequence.begin(), sequence.end());
        kept.row.assign(row.begin(), row.end());
        kept.used = clock_;
        kept.key = hash(sequence);
        index_[kept.key] = *place;
        return kept.row;
    }

    void clear() {
        entries_.clear();
        index_.clear();
    }

private:
    struct entry {
        std::uint64_t key = 0;
        token_list sequence = {};
        std::vector<float> row = {};
        std::uint64_t used = 0;  // clock of the last call that used it
    };

    /// FNV-1a. Equal hashes are told apart by the tokens; the later one is kept.
    [[nodiscard]] static std::uint64_t hash(token_view sequence) noexcept {
        std::uint64_t value = 0xCBF29CE484222325;
        for (const token_id token : sequence)
            value = (value ^ static_cast<std::uint32_t>(token)) * 0x100000001B3;
        return value;
    }

    /// A new entry while there is room, else the least recently used one, unless that is in use.
    [[nodiscard]] std::optional<std::size_t> free_place() {
        if (entries_.size() < capacity_) {
            entries_.emplace_back();
            return entries_.size() - 1;
        }
        const auto older = [&](const entry& a, const entry& b) { return a.used < b.used; };
        const auto victim = std::min_element(entries_.begin(), entries_.end(), older);
        if (victim == entries_.end() || victim->used == clock_) return std::nullopt;
        const auto place = static_cast<std::size_t>(victim - entries_.begin());
        const auto known = index_.find(victim->key);
        if (known != index_.end() && known->second == place) index_.erase(known);
        return place;
    }

    std::size_t capacity_;
    std::vector<entry> entries_;
    std::unordered_map<std::uint64_t, std::size_t> index_;  // hash of a sequence -> entry
    std::uint64_t clock_ = 0;
};

}  // namespace tq::llama_cpp::detail
