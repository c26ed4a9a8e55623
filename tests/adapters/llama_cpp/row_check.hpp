#pragma once
// Are rows under random branching, cutting, several prompts and full caches those of a fresh context?

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <tq/adapters/llama_cpp/sequence_engine.hpp>
#include <tq/core/random.hpp>

#include "shared_model.hpp"

namespace tq::test {

/// The largest difference of two rows, in standard deviations of the second.
inline double apart(logits_view row, logits_view other) {
    double mean = 0, square = 0, largest = 0;
    for (std::size_t i = 0; i < other.size(); ++i) {
        mean += other[i] / static_cast<double>(other.size());
        square += double{other[i]} * other[i] / static_cast<double>(other.size());
        const double difference = std::abs(double{row[i]} - double{other[i]});
        if (!(difference <= largest)) largest = std::isfinite(difference) ? difference : 1e9;
    }
    return largest / std::sqrt((std::max)(square - mean * mean, 1e-30));
}

struct row_check {
    std::size_t rows = 0, off = 0;
    double worst = 0;         // the largest distance of a row from a fresh context's
    double allowed = 0;       // what float noise explains: five times what was measured
    double neighbours = 0;    // the median distance of rows that ought to differ
    std::size_t decoded = 0;  // tokens
};

/// Sequences like those of decoding, but wilder: they go on, are cut and branch, in several prompts
/// at once that may share their beginning, and are a few windows long.
class traffic {
public:
    traffic(random_key key, std::size_t vocabulary, std::size_t slots)
        : key_{key},
          vocabulary_{vocabulary},
          slots_{slots} {
        known_.push_back(grown({}, 90));
        known_.push_back(grown(token_list(known_[0].begin(), known_[0].begin() + 60), 30));
    }

    [[nodiscard]] std::size_t pick(std::size_t n) { return key_.bits(at_++) % n; }

    /// The sequences of the next call; more than there are slots, at times.
    [[nodiscard]] std::vector<token_list> next() {
        if (pick(3) == 0) return look_ahead();
        std::vector<token_list> sequences;
        const std::size_t count = 1 + pick(pick(8) == 0 ? 2 * slots_ : slots_ / 2);
        for (std::size_t i = 0; i < count; ++i) {
            token_list sequence = known_[pick(known_.size())];
            switch (pick(5)) {
                case 0:
                    sequence.resize(1 + pick(sequence.size()));
                    break;
                case 1:
                    sequence.resize(sequence.size() -
                                    pick((std::min)(sequence.size(), std::size_t{12})));
                    break;
                case 2:
                    if (pick(4) == 0) sequence = grown({}, 1 + pick(90));
                    break;
                default:
                    break;
            }
            sequence = grown(std::move(sequence), pick(8));
            if (sequence.empty() || sequence.size() > 150) sequence = grown({}, 20);
            sequences.push_back(std::move(sequence));
        }
        for (const token_list& sequence : sequences) remember(sequence);
        return sequences;
    }

private:
    [[nodiscard]] token_list grown(token_list sequence, std::size_t more) {
        while (more-- > 0) sequence.push_back(static_cast<token_id>(pick(vocabulary_)));
        return sequence;
    }

    void remember(token_list sequence) {
        if (known_.size() < 20)
            known_.push_back(std::move(sequence));
        else
            known_[pick(known_.size())] = std::move(sequence);
    }

    /// Rollouts of several candidates advance together; then one candidate is chosen.
    [[nodiscard]] std::vector<token_list> look_ahead() {
        if (rollouts_.empty() || rollouts_[0].size() > start_ + 6) {
            token_list state = rollouts_.empty() ? known_[0] : rollouts_[pick(rollouts_.size())];
            if (!rollouts_.empty()) state.resize(start_ + 1);
            if (state.size() > 140) state = known_[1];
            start_ = state.size();
            rollouts_.clear();
            for (std::size_t i = 0; i < slots_ / 2; ++i) rollouts_.push_back(grown(state, 1));
        } else {
            for (token_list& rollout : rollouts_) rollout = grown(std::move(rollout), 1);
        }
        return rollouts_;
    }

    random_key key_;
    std::uint64_t at_ = 0;
    std::size_t vocabulary_, slots_;
    std::vector<token_list> known_, rollouts_;
    std::size_t start_ = 0;
};

/// Runs `calls` calls of traffic through an engine that must cut, copy and clear all the time.
inline row_check check_rows(const llama_cpp::model_file& model, llama_cpp::detail::row_kind kind,
                            std::size_t calls, std::uint64_t seed) {
    constexpr std::size_t slots = 8;
    llama_cpp::detail::sequence_engine engine{
        model,
        {.context = 320, .max_sequences = slots, .batch = 64, .threads = 1, .kept_rows = 2},
        kind};
    bare_model bare{model, kind == llama_cpp::detail::row_kind::states};
    traffic source{random_key{seed}, model.vocab_size(), slots};
    row_check result;
    std::vector<token_list> samples;
    std::vector<double> neighbours;
    std::vector<double> distances;
    std::vector<float> last;
    for (std::size_t call = 0; call < calls; ++call) {
        const std::vector<token_list> sequences = source.next();
        const std::vector<token_view> views{sequences.begin(), sequences.end()};
        const std::span<const logits_view> rows = engine.rows(views);
        for (std::size_t n = 0; n < 2; ++n) {
            const std::size_t i = source.pick(sequences.size());
            const std::vector<float> fresh = bare.row(sequences[i]);
            distances.push_back(apart(rows[i], fresh));
            if (!last.empty()) neighbours.push_back(apart(last, fresh));
            last = fresh;
            if (samples.size() < 6 && sequences[i].size() > 60) samples.push_back(sequences[i]);
        }
    }
    result.decoded = engine.tokens_decoded();
    result.allowed = 5 * bare.noise(samples, apart) + 1e-5;
    result.rows = distances.size();
    for (const double distance : distances) {
        result.worst = (std::max)(result.worst, distance);
        if (distance > result.allowed) ++result.off;
    }
    std::nth_element(neighbours.begin(),
                     neighbours.begin() + static_cast<long>(neighbours.size() / 2),
                     neighbours.end());
    result.neighbours = neighbours[neighbours.size() / 2];
    return result;
}

}  // namespace tq::test
