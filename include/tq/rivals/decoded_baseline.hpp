#pragma once
// A baseline that is a way of decoding: ARGS, best-of-n, mixed logits, even TQ* itself.

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "../core/trajectory.hpp"
#include "../rollout/options.hpp"

namespace tq {

/// Rollouts by a decoder: "already aligned" need not mean trained. Models completer.
///
///     tq::direct_transfer prefix = tq::args_value(policy, reward);
///     tq::decoded_baseline baseline{tq::decoder{policy, prefix, {.select = tq::selection::argmax}}};
///     tq::direct_transfer q{baseline, reward};
///
/// The decoder is anything with next(states), as `decoder` and `block_decoder` have it; its own options
/// decide how tokens are drawn, and the sampling rule of the look-ahead is not looked at. With a decoder
/// that draws, give the look-ahead `.reuse = false`, or a temperature above 0: its rollouts are not
/// determined by their prefix. Log-probabilities are unknown, so it serves direct transfer alone.
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
        std::vector<trajectory> result;
        for (const rollout_request& request : requests)
            result.push_back({.sequence = {request.sequence.begin(), request.sequence.end()},
                              .start = request.sequence.size()});
        for (;;) {
            std::vector<decode_state> states;
            std::vector<std::size_t> owners;
            for (std::size_t i = 0; i < requests.size(); ++i) {
                const std::size_t written = result[i].tokens().size();
                if (result[i].finished || written >= requests[i].max_tokens) continue;
                owners.push_back(i);
                states.push_back({.sequence = result[i].sequence,
                                  .prompt_size = requests[i].prompt_size,
                                  .tokens_left = requests[i].max_tokens - written,
                                  .end_tokens = requests[i].end_tokens,
                                  .key = requests[i].key.fold_in(written),
                                  .answer_key = requests[i].key});
            }
            if (owners.empty()) return result;
            const auto steps = decoder_.next(states);
            for (std::size_t j = 0; j < owners.size(); ++j) {
                trajectory& rollout = result[owners[j]];
                const token_view tokens = steps[j].emitted();
                rollout.sequence.insert(rollout.sequence.end(), tokens.begin(), tokens.end());
                rollout.finished = steps[j].ends;
                rollout.rows += steps[j].spent.total();
            }
        }
    }

private:
    Decoder decoder_;
};

}  // namespace tq
