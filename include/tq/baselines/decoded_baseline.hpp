#pragma once
// A baseline that is a way of decoding: ARGS, best-of-n, mixed logits, even TQ* itself.

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/trajectory.hpp"
#include "../decode/generation.hpp"

namespace tq {

/// Rollouts by a decoder: "already aligned" need not mean trained. Models completer.
///
///     tq::direct_transfer prefix = tq::args_value(policy, reward);
///     tq::decoder args{policy, prefix, {.select = tq::selection::argmax}};
///     tq::decoded_baseline baseline{args};
///     tq::direct_transfer q{baseline, reward};
///
/// The decoder is any decoding_method; its own options
/// decide how tokens are drawn, and the sampling rule of the look-ahead is not looked at. With a
/// decoder that draws, give the look-ahead `.reuse = false`, or a temperature above 0: its rollouts
/// are not determined by their prefix. Log-probabilities are unknown, so it serves direct transfer
/// alone.
///
/// Model tokens of a rollout: what its decoder's steps state; they are counted as the baseline's.
/// The decoder is held by value; models that it refers to must outlive it.
template <class Decoder>
class decoded_baseline {
public:
    /// The decoder is moved in.
    explicit decoded_baseline(Decoder decoder) : decoder_{std::move(decoder)} {}

    /// Models completer: all requests advance together.
    [[nodiscard]] std::vector<trajectory> complete(std::span<const rollout_request> requests,
                                                   const sampling_rule&) {
        generation<Decoder> answers{decoder_};
        for (const rollout_request& request : requests) answers.add(request);
        while (!answers.advance().empty()) {
        }
        std::vector<trajectory> result;
        for (std::size_t i = 0; i < requests.size(); ++i) {
            const token_view prompt = answers.prompt(i), answer = answers.answer(i);
            trajectory& rollout = result.emplace_back();
            rollout.sequence.assign(prompt.begin(), prompt.end());
            rollout.sequence.insert(rollout.sequence.end(), answer.begin(), answer.end());
            rollout.start = requests[i].sequence.size();
            rollout.finished = answers.finished(i);
            rollout.rows = answers.spent(i).total();
        }
        return result;
    }

private:
    Decoder decoder_;
};

}  // namespace tq
