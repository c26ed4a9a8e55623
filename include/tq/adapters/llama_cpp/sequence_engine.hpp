#pragma once
// sequence_engine: one output row for each of many sequences, decoding only what is new.

#include <algorithm>
#include <cstddef>
#include <numeric>
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
#include "wanted_sequences.hpp"

namespace tq::llama_cpp::detail {

class sequence_engine {
public:
    sequence_engine(model_file source, const language_model_options& options, row_kind kind)
        : context_{std::move(source), options},
          cache_{options.max_sequences},
          known_{options.kept_rows},
          kind_{kind},
          wanted_{kind} {}

    [[nodiscard]] const model_file& source() const noexcept { return context_.source(); }
    [[nodiscard]] llama_context* handle() const noexcept { return context_.handle(); }
    [[nodiscard]] std::size_t max_sequences() const noexcept { return cache_.size(); }
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
        for (std::size_t i = 0; i < sequences.size(); ++i) check_tokens(sequences[i], i);
        group_equal(sequences);
        held_count_ = 0;
        try {
            recall();
            for (std::size_t begin = 0; begin < wanted_.size();) {
                const sequence_group group =
                    wanted_.group_from(begin, cache_.size(), context_.capacity());
                run(group);
                begin = group.end;
            }
        } catch (...) {
            clear();
            throw;
        }
        rows_.resize(sequences.size());
        for (std::size_t i = 0; i < sequences.size(); ++i) rows_[i] = distinct_rows_[which_[i]];
        return rows_;
    }

private:
    // A floor for the cells that stale slots may keep: they cost little beside a whole decode. And
    // so many for each sequence that recent calls had: the ends of the rollouts that go on.
    static constexpr std::size_t always_kept = 512, kept_each = 64;
    // Tokens whose needless rows cost about as much as to read all weights once more.
    static constexpr std::size_t handful = 32;

    void check_tokens(token_view sequence, std::size_t i) const {
        const std::string where = "next_logits: sequence " + std::to_string(i);
        check_option(!sequence.empty(), where, "size", 0, "at least 1 token");
        check_option(sequence.size() <= context_.capacity(), where, "size", sequence.size(),
                     "at most the context of " + std::to_string(context_.capacity()) +
                         " tokens (raise the option `context`)");
        const std::size_t vocab = context_.source().vocab_size();
        for (std::size_t t = 0; t < sequence.size(); ++t)
            if (sequence[t] < 0 || static_cast<std::size_t>(sequence[t]) >= vocab)
                check_option(false, where, "token " + std::to_string(t), sequence[t],
                             "in [0, " + std::to_string(vocab) + ")");
    }

    /// Sorts the sequences, so that those with a common prefix are neighbours and a prefix comes
    /// before what it begins; keeps one of each.
    void group_equal(std::span<const token_view> sequences) {
        std::vector<std::size_t> order(sequences.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return std::lexicographical_compare(sequences[a].begin(), sequences[a].end(),
                                                sequences[b].begin(), sequences[b].end());
        });
        distinct_.clear();
        which_.resize(sequences.size());
        for (const std::size_t i : order) {
            if (distinct_.empty() || !std::ranges::equal(distinct_.back(), sequences[i]))
                distinct_.push_back(sequences[i]);
            which_[i] = distinct_.size() - 1;
        }
        distinct_rows_.assign(distinct_.size(), logits_view{});
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
                continue;
            }
            wanted_.push_back(distinct_[i]);
            place_.push_back(i);
        }
    }

    void clear_cells() {
        context_.clear();
        cache_.clear();
    }

    void run(const sequence_group& group) {
        if (try_run(group)) return;
        clear_cells();  // duplicated cells are in the way, or some are lost: start afresh
        if (!try_run(group))
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
        auto& [body, last] = tokens_;
        const bool last_group = group.end == wanted_.size();
        if (kind_ == row_kind::states && !body.empty()) {
            if (body.size() > handful || body.size() + last.size() > cache_.size()) {
                if (!decode(body, group.begin, false)) return false;
            } else {
                for (batch_token& token : body) token.output = true;
                last.insert(last.begin(), body.begin(), body.end());
            }
            body.clear();
        }
        return decode(kind_ == row_kind::states ? last : body, group.begin, last_group);
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
                if (chunk[n].output && chunk[n].position + 1 == sequence_of(chunk[n], begin).size())
                    take(begin + chunk[n].begin, context_.row(n, states), stays);
        }
        return true;
    }

    [[nodiscard]] token_view sequence_of(const batch_token& token, std::size_t begin) const {
        return wanted_[begin + token.begin];
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
    prefix_cache cache_;
    row_cache known_;
    row_kind kind_;
    std::vector<token_view> distinct_;        // sorted, of the present call
    std::vector<logits_view> distinct_rows_;  // [distinct]
    std::vector<std::size_t> which_;          // [sequences] index into distinct_
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
