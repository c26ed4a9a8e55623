#pragma once
// sequence_engine: one output row for each of many sequences, decoding only what is new.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "context.hpp"
#include "prefix_cache.hpp"
#include "row_cache.hpp"
#include "state_cache.hpp"
#include "wanted_sequences.hpp"

namespace tq::llama_cpp::detail {

class sequence_engine {
public:
    sequence_engine(model_file source, const language_model_options& options, row_kind kind)
        : context_{std::move(source), options},
          cache_{options.max_sequences},
          states_{options.max_sequences},
          known_{options.kept_rows},
          kind_{kind},
          wanted_{kind} {}

    [[nodiscard]] const model_file& source() const noexcept { return context_.source(); }
    [[nodiscard]] llama_context* handle() const noexcept { return context_.handle(); }
    /// Sequences to keep in flight; what is left are slots where prompts stay.
    [[nodiscard]] std::size_t in_flight() const noexcept {
        return context_.whole_states() ? at_once() : cache_.size() - cache_.size() / 8;
    }
    [[nodiscard]] std::size_t tokens_decoded() const noexcept { return tokens_decoded_; }
    [[nodiscard]] std::size_t decodes() const noexcept { return decodes_; }
    void reset_counters() noexcept { tokens_decoded_ = decodes_ = 0; }

    void clear() {
        clear_cells();
        known_.clear();
    }

    /// rows[i] belongs to sequences[i], views until the next call. Equal sequences share a row.
    /// Throws invalid_option for sequences that are empty, too long or have tokens outside the
    /// vocabulary. After any exception the cache is empty and the object usable.
    [[nodiscard]] std::span<const logits_view> rows(std::span<const token_view> sequences) {
        check_tokens(sequences, context_.capacity(), source().vocab_size());
        distinct_.assign(sequences);
        distinct_rows_.assign(distinct_.size(), logits_view{});
        held_count_ = 0;
        try {
            recall();
            for (std::size_t begin = 0; begin < wanted_.size();) {
                const sequence_group group =
                    wanted_.group_from(begin, at_once(), context_.capacity());
                run(group);
                begin = group.end;
            }
        } catch (...) {
            clear();
            throw;
        }
        rows_.resize(sequences.size());
        for (std::size_t i = 0; i < sequences.size(); ++i)
            rows_[i] = distinct_rows_[distinct_.of(i)];
        return rows_;
    }

private:
    // A floor for the cells that stale slots may keep: they cost little beside a whole decode. And
    // so many for each sequence that recent calls had: the ends of the rollouts that go on.
    static constexpr std::size_t always_kept = 512, kept_each = 64;
    // Tokens whose needless rows cost about as much as to read all weights once more.
    static constexpr std::size_t handful = 32;

    /// Sequences of a group. Half of the states are for where they branch.
    [[nodiscard]] std::size_t at_once() const noexcept {
        return context_.whole_states() ? (cache_.size() + 1) / 2 : cache_.size();
    }

    /// Finds the rows that are known, and lists the sequences that must be decoded.
    void recall() {
        known_.begin();
        constexpr double fading = 1 - 1.0 / 64;  // a step of a decode takes dozens of calls
        recent_width_ = (std::max)(static_cast<double>(distinct_.size()), fading * recent_width_);
        wanted_.clear();
        place_.clear();
        for (std::size_t i = 0; i < distinct_.size(); ++i) {
            if (const std::optional<logits_view> row = known_.find(distinct_[i])) {
                distinct_rows_[i] = *row;
                cache_.touch(distinct_[i]);
                states_.touch(distinct_[i]);
                continue;
            }
            wanted_.push_back(distinct_[i]);
            place_.push_back(i);
        }
    }

    void clear_cells() {
        context_.clear();
        cache_.clear();
        states_.clear();
    }

    void run(const sequence_group& group) {
        const auto attempt = [&] {
            return context_.whole_states() ? try_states(group) : try_run(group);
        };
        if (attempt()) return;
        clear_cells();  // duplicated cells are in the way, or some are lost: start afresh
        if (!attempt())
            throw backend_error{"llama_decode: the KV cache of " +
                                    std::to_string(context_.capacity()) +
                                    " tokens is too small for " + std::to_string(group.cells) +
                                    " (raise the option `context`)",
                                1};
    }

    /// False if the KV cache is full or lacks what it should have; it must be cleared then.
    [[nodiscard]] bool try_run(const sequence_group& group) {
        const cache_plan plan = cache_.place(wanted_.of(group));
        for (const cache_step& step : plan.steps) context_.carry_out(step);
        // A decode attends to every cell up to the last used one and masks what is not its own, so
        // stale slots cost time. They may hold as many cells as this call's sequences, or a floor:
        // then attention costs at most twice what it must. Prompts that this call is not about, but
        // the next one may be, may take half of the context besides: decoding them again costs
        // more.
        const std::size_t room = context_.capacity() - group.cells;
        const std::size_t floor =
            (std::max)(always_kept, kept_each * static_cast<std::size_t>(recent_width_));
        const std::size_t whole = (std::min)((std::max)(group.cells, floor), room);
        const std::size_t prefixes = (std::min)(context_.capacity() / 2, room - whole);
        for (const cache_step& cut : cache_.trim(whole, prefixes)) context_.carry_out(cut);
        slots_.clear();
        for (const cache_place& place : plan.places) {
            if (!context_.holds(place.slot, place.cached)) return false;
            slots_.push_back(place.slot);
        }
        wanted_.collect(group.begin, plan.places, tokens_);
        return decode_group(group.begin, group.end == wanted_.size());
    }

    /// The same for models whose states are whole: round by round, each sequence in a slot.
    [[nodiscard]] bool try_states(const sequence_group& group) {
        const std::vector<state_round> rounds = states_.plan(wanted_.of(group));
        if (context_.has_cells())
            for (const cache_step& cut : states_.trim(context_.capacity())) context_.carry_out(cut);
        for (const state_round& round : rounds) {
            for (const cache_step& step : round.steps) context_.carry_out(step);
            for (const state_target& target : round.targets)
                if (!context_.holds(target.slot, target.cached)) return false;
            slots_.resize(2 * (group.end - group.begin));
            for (const state_target& target : round.targets) slots_[target.owner] = target.slot;
            wanted_.collect(round, group.end - group.begin, tokens_);
            const bool final = group.end == wanted_.size() && &round == &rounds.back();
            if (!decode_group(group.begin, final)) return false;
        }
        return true;
    }

    /// Decodes what was collected; for states, see row_kind.
    [[nodiscard]] bool decode_group(std::size_t begin, bool final) {
        auto& [body, last] = tokens_;
        if (kind_ == row_kind::states && !body.empty()) {
            if (last.empty() || body.size() > handful ||
                body.size() + last.size() > cache_.size()) {
                if (!decode(body, begin, false)) return false;
            } else {
                for (batch_token& token : body) token.output = true;
                last.insert(last.begin(), body.begin(), body.end());
            }
            body.clear();
        }
        return decode(kind_ == row_kind::states ? last : body, begin, final);
    }

    /// Decodes in chunks. Rows are copied: the next decode overwrites those that llama.cpp shows.
    /// Only those of the call's very last chunk could stay there.
    [[nodiscard]] bool decode(const std::vector<batch_token>& tokens, std::size_t begin,
                              bool final) {
        const std::span<const batch_token> all{tokens};
        for (std::size_t at = 0; at < all.size(); at += context_.batch_size()) {
            const auto chunk = all.subspan(at, (std::min)(context_.batch_size(), all.size() - at));
            const bool states = kind_ == row_kind::states && chunk.front().output;
            if (!context_.decode(chunk, slots_, states)) return false;
            tokens_decoded_ += chunk.size();
            ++decodes_;
            const bool stays = final && at + chunk.size() == all.size();
            for (std::size_t n = 0; n < chunk.size(); ++n)
                if (ends_sequence(chunk[n], begin))
                    take(begin + chunk[n].begin, context_.row(n, states), stays);
        }
        return true;
    }

    [[nodiscard]] bool ends_sequence(const batch_token& token, std::size_t begin) const {
        const std::size_t i = begin + token.begin;
        return token.output && i < wanted_.size() && token.position + 1 == wanted_[i].size();
    }

    /// The row of wanted sequence i. `stays`: it is valid until the next call where it lies.
    void take(std::size_t i, logits_view row, bool stays) {
        logits_view& result = distinct_rows_[place_[i]];
        if (const std::optional<logits_view> kept = known_.keep(wanted_[i], row))
            result = *kept;
        else
            result = stays ? row : hold(row);
    }

    [[nodiscard]] logits_view hold(logits_view row) {
        if (held_count_ == held_.size()) held_.emplace_back();
        std::vector<float>& copy = held_[held_count_++];
        copy.assign(row.begin(), row.end());
        return copy;
    }

    context context_;
    prefix_cache cache_;  // one of the two is in use
    state_cache states_;
    row_cache known_;
    row_kind kind_;
    distinct_sequences distinct_;             // of the present call
    std::vector<logits_view> distinct_rows_;  // [distinct]
    wanted_sequences wanted_;                 // those of distinct_ whose row is not known
    std::vector<std::size_t> place_;          // [wanted] index into distinct_
    std::vector<logits_view> rows_;           // [sequences]
    group_tokens tokens_;                     // of the present group
    std::vector<std::size_t> slots_;          // [group]
    std::vector<std::vector<float>> held_;    // copied rows; the first held_count_ are in use
    std::size_t held_count_ = 0;
    double recent_width_ = 0;  // sequences of the widest call of late
    std::size_t tokens_decoded_ = 0, decodes_ = 0;
};

}  // namespace tq::llama_cpp::detail
