#pragma once
// wanted_sequences: what a call must decode, in which groups, and the tokens of each.

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "context.hpp"
#include "prefix_cache.hpp"
#include "state_cache.hpp"

namespace tq::llama_cpp::detail {

/// What a row is: logits of the next token [vocab], or the state of the last token after the final
/// norm [hidden].
///
/// llama.cpp has no switch for "states without logits": a context that outputs states outputs them
/// for every token of the batch, and multiplies each by the vocabulary matrix (a fifth of a
/// small model's work) on the way. So for states all tokens but the last of each sequence
/// are decoded first with no output at all, which skips that matrix; then the last ones, as
/// outputs. (A handful of tokens goes in one batch all the same: to read the weights twice costs
/// more.)
enum class row_kind { logits, states };

/// Sequences [begin, end) that are decoded together, and the cells of the KV cache that they need.
struct sequence_group {
    std::size_t begin = 0, end = 0;
    std::size_t cells = 0;
};

/// The tokens of a group: for states, `last` has the last one of each sequence and `body` the
/// others; for logits, `body` has them all. Owners count from the group's begin.
struct group_tokens {
    std::vector<batch_token> body, last;
};

/// Throws invalid_option for sequences that are empty, longer than `longest` or have tokens outside
/// [0, vocabulary).
inline void check_tokens(std::span<const token_view> sequences, std::size_t longest,
                         std::size_t vocabulary) {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
        const token_view sequence = sequences[i];
        const std::string where = "next_logits: sequence " + std::to_string(i);
        check_option(!sequence.empty(), where, "size", 0, "at least 1 token");
        check_option(sequence.size() <= longest, where, "size", sequence.size(),
                     "at most the context of " + std::to_string(longest) +
                         " tokens (raise the option `context`)");
        for (std::size_t t = 0; t < sequence.size(); ++t)
            if (sequence[t] < 0 || static_cast<std::size_t>(sequence[t]) >= vocabulary)
                check_option(false, where, "token " + std::to_string(t), sequence[t],
                             "in [0, " + std::to_string(vocabulary) + ")");
    }
}

/// The sequences of a call, each once, in ascending order: those with a common prefix are
/// neighbours, and a prefix comes before what it begins.
class distinct_sequences {
public:
    void assign(std::span<const token_view> sequences) {
        std::vector<std::size_t> order(sequences.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return std::ranges::lexicographical_compare(sequences[a], sequences[b]);
        });
        sequences_.clear();
        which_.resize(sequences.size());
        for (const std::size_t i : order) {
            if (sequences_.empty() || !std::ranges::equal(sequences_.back(), sequences[i]))
                sequences_.push_back(sequences[i]);
            which_[i] = sequences_.size() - 1;
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return sequences_.size(); }
    [[nodiscard]] token_view operator[](std::size_t i) const { return sequences_[i]; }
    /// Which of them the call's i-th sequence is.
    [[nodiscard]] std::size_t of(std::size_t i) const { return which_[i]; }

private:
    std::vector<token_view> sequences_;
    std::vector<std::size_t> which_;
};

class wanted_sequences {
public:
    explicit wanted_sequences(row_kind kind) : kind_{kind} {}

    void clear() noexcept {
        sequences_.clear();
        shared_.clear();
    }

    /// In ascending order, so that those with a common prefix are neighbours.
    void push_back(token_view sequence) {
        shared_.push_back(sequences_.empty() ? 0 : common_prefix(sequences_.back(), sequence));
        sequences_.push_back(sequence);
    }

    [[nodiscard]] std::size_t size() const noexcept { return sequences_.size(); }
    [[nodiscard]] token_view operator[](std::size_t i) const { return sequences_[i]; }
    [[nodiscard]] std::span<const token_view> of(const sequence_group& group) const {
        return std::span{sequences_}.subspan(group.begin, group.end - group.begin);
    }

    /// Sequences from `begin` on, at most `most`, that fit into so many cells.
    [[nodiscard]] sequence_group group_from(std::size_t begin, std::size_t most,
                                            std::size_t cells) const {
        sequence_group result{.begin = begin, .end = begin};
        while (result.end < sequences_.size() && result.end - begin < most) {
            const std::size_t i = result.end;
            const std::size_t more = sequences_[i].size() - (i == begin ? 0 : shared_new(i));
            if (result.cells + more > cells) break;
            result.cells += more;
            ++result.end;
        }
        return result;
    }

    /// Lists the tokens to decode. Neighbours that share new tokens decode them once: such a token
    /// belongs to several slots. llama.cpp demands that these slots have held the same number of
    /// tokens before. They have: sequences that agree up to position p find the same best prefix
    /// below p.
    void collect(std::size_t begin, std::span<const cache_place> places,
                 group_tokens& tokens) const {
        tokens.body.clear();
        tokens.last.clear();
        for (std::size_t i = 0; i < places.size(); ++i) {
            const token_view sequence = sequences_[begin + i];
            const std::size_t first =
                (std::max)(places[i].cached, i == 0 ? 0 : shared_new(begin + i));
            for (std::size_t p = first; p < sequence.size(); ++p) {
                const bool output = p + 1 == sequence.size();
                const bool apart = output && kind_ == row_kind::states;
                const std::size_t sharers = apart ? i + 1 : end_of_sharers(begin, places, i, p);
                (apart ? tokens.last : tokens.body).push_back({sequence[p], p, i, sharers, output});
            }
        }
    }

    /// The same for a round of whole states; each token has one owner, and owners from `sequences`
    /// on are no sequence.
    void collect(const state_round& round, std::size_t sequences, group_tokens& tokens) const {
        tokens.body.clear();
        tokens.last.clear();
        for (const state_target& target : round.targets)
            for (std::size_t p = target.cached; p < target.tokens.size(); ++p) {
                const bool output = p + 1 == target.tokens.size() && target.owner < sequences;
                const bool apart = output && kind_ == row_kind::states;
                (apart ? tokens.last : tokens.body)
                    .push_back({target.tokens[p], p, target.owner, target.owner + 1, output});
            }
    }

private:
    /// How many tokens sequence i has in common with what its predecessor decodes. (The last token
    /// for a state is decoded by itself, so it is not there for a successor.)
    [[nodiscard]] std::size_t shared_new(std::size_t i) const {
        return kind_ == row_kind::logits ? shared_[i]
                                         : (std::min)(shared_[i], sequences_[i - 1].size() - 1);
    }

    [[nodiscard]] std::size_t end_of_sharers(std::size_t begin, std::span<const cache_place> places,
                                             std::size_t i, std::size_t position) const {
        std::size_t end = i + 1;
        while (end < places.size() && shared_new(begin + end) > position &&
               places[end].cached <= position)
            ++end;
        return end;
    }

    row_kind kind_;
    std::vector<token_view> sequences_;
    std::vector<std::size_t> shared_;  // [sequences] common prefix with the one before
};

}  // namespace tq::llama_cpp::detail
