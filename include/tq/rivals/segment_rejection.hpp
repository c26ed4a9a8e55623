#pragma once
// Segment rejection: an answer in segments, each drawn until its reward is high enough.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/policy.hpp"
#include "../concepts/reward.hpp"
#include "../core/error.hpp"
#include "../decode/block_decoder.hpp"
#include "../decode/generation.hpp"
#include "../rollout/engine.hpp"

namespace tq {

/// Options of segment_rejection.
struct segment_rejection_options {
    std::size_t block = 8;      ///< tokens of a segment at most; >= 1
    std::size_t attempts = 16;  ///< draws per segment; >= 1. After them the best one is taken
    double target = 1;          ///< reward that the whole answer should reach, r*; finite
    double start = 0.5;         ///< reward that the first segment should reach about, r0; finite
    double softness = 0.1;  ///< of the threshold, in units of the reward; (0, inf]. inf accepts all
    /// How segments are drawn.
    sampling_rule proposal = {.temperature = 1.0, .top_p = 1.0};
    /// Every random number is a function of it.
    std::uint64_t seed = 0;
    token_list end_tokens = {};  ///< empty = those that the proposer states
};

/// Throws invalid_option unless every field is in range.
inline void validate(const segment_rejection_options& options, std::string_view where) {
    check_option(options.block >= 1, where, "block", options.block, ">= 1");
    check_option(options.attempts >= 1, where, "attempts", options.attempts, ">= 1");
    check_option(std::isfinite(options.target), where, "target", options.target, "finite");
    check_option(std::isfinite(options.start), where, "start", options.start, "finite");
    check_option(options.softness > 0, where, "softness", options.softness, "in (0, inf]");
    validate(options.proposal, where);
    check_option(options.attempts == 1 || !options.proposal.greedy(), where, "attempts",
                 options.attempts, "1 when the proposal is greedy (temperature 0): all are alike");
}

/// Draws one segment after another; a segment that ends t tokens into an answer of T at most is
/// accepted with probability
///
///     min(1, exp((r(x, [y, segment]) - tau(t)) / softness)),   tau(t) = start + (target - start) t
///     / T
///
/// and drawn again otherwise. Cascade reward sampling (CARDS) ends segments where the policy is
/// uncertain; here they have a fixed length.
///
/// Model tokens per emitted token: 2 x draws per segment, at most 2 attempts; the easier the target
/// the fewer.
/// Divergence from the proposer: a segment's law is at most E[draws] times the proposer's, so at
/// most log E[draws] nats. Its step states 1 + 1/2 + ... + 1/(draws - 1), whose mean is that if
/// attempts never run out (draws are geometric then), and no less if they do.
/// Source: Li et al., "Cascade reward sampling for efficient decoding-time alignment", arXiv
/// 2406.16306.
///
/// Lvalues are held by reference and must outlive the object, rvalues are moved in.
/// threads: one object per thread; it uses the models it was given. Models decoding_method.
template <class Proposer, class Judge>
class segment_rejection : public generates<segment_rejection<Proposer, Judge>> {
    static_assert(explain_policy<std::remove_reference_t<Proposer>>());
    static_assert(explain_reward<std::remove_reference_t<Judge>>());

public:
    /// What one decision is.
    using step_type = block_step;

    /// Throws invalid_option if an option is out of range.
    segment_rejection(Proposer&& proposer, Judge&& judge, segment_rejection_options options = {})
        : proposer_(std::forward<Proposer>(proposer)),
          judge_(std::forward<Judge>(judge)),
          options_{std::move(options)},
          end_tokens_{chosen_end_tokens(options_.end_tokens, proposer_)} {
        validate(options_, "segment_rejection");
    }

    /// One segment for each state.
    [[nodiscard]] std::vector<block_step> next(std::span<const decode_state> states) {
        std::vector<block_step> steps(states.size());
        std::vector<std::size_t> open(states.size());
        for (std::size_t i = 0; i < states.size(); ++i) {
            open[i] = i;
            steps[i].position = states[i].answer().size();
        }
        std::vector<std::vector<bool>> ends(states.size());  // [states][draws]
        for (std::size_t attempt = 0; !open.empty(); ++attempt) {
            const std::vector<trajectory> segments = draw(states, open, attempt);
            const std::vector<double> rewards = judge(states, open, segments);
            std::vector<std::size_t> still;
            for (std::size_t n = 0; n < open.size(); ++n) {
                const std::size_t i = open[n];
                record(segments[n], rewards[n], steps[i]);
                ends[i].push_back(segments[n].finished);
                if (accepts(states[i], segments[n], rewards[n], attempt))
                    steps[i].choice = attempt;
                else if (attempt + 1 == options_.attempts)
                    steps[i].choice = static_cast<std::size_t>(
                        std::ranges::max_element(steps[i].q) - steps[i].q.begin());
                else
                    still.push_back(i);
            }
            open = std::move(still);
        }
        for (std::size_t i = 0; i < states.size(); ++i) close(steps[i], ends[i]);
        return steps;
    }

    [[nodiscard]] const segment_rejection_options& options() const noexcept { return options_; }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }
    [[nodiscard]] std::size_t vocab_size() { return vocab_size_of(proposer_); }

private:
    static constexpr std::uint64_t segment_key = 1, acceptance_key = 2;

    [[nodiscard]] std::vector<trajectory> draw(std::span<const decode_state> states,
                                               std::span<const std::size_t> open,
                                               std::size_t attempt) {
        std::vector<rollout_request> requests;
        for (const std::size_t i : open)
            requests.push_back({.sequence = states[i].sequence,
                                .max_tokens = (std::min)(options_.block, states[i].tokens_left),
                                .end_tokens = states[i].end_tokens,
                                .key = states[i].key.fold_in(segment_key).fold_in(attempt)});
        return run_rollouts(proposer_, requests, options_.proposal);
    }

    [[nodiscard]] std::vector<double> judge(std::span<const decode_state> states,
                                            std::span<const std::size_t> open,
                                            std::span<const trajectory> segments) {
        std::vector<answer_view> answers;
        for (std::size_t n = 0; n < open.size(); ++n) {
            const std::size_t prompt = states[open[n]].prompt_size;
            const token_view sequence = segments[n].sequence;
            answers.push_back({.prompt = sequence.first(prompt),
                               .answer = sequence.subspan(prompt),
                               .finished = segments[n].finished});
        }
        std::vector<double> rewards(answers.size());
        score_answers(judge_, answers, rewards, "segment_rejection");
        return rewards;
    }

    static void record(const trajectory& segment, double reward, block_step& step) {
        const bool first = step.blocks.empty();
        step.blocks.emplace_back(segment.tokens().begin(), segment.tokens().end());
        step.q.push_back(reward);
        step.q_error.push_back(std::numeric_limits<double>::quiet_NaN());
        step.spent.policy += segment.rows - (first ? 0 : 1);  // the first row is shared
        step.spent.reward += segment.tokens().size();
    }

    [[nodiscard]] bool accepts(const decode_state& state, const trajectory& segment, double reward,
                               std::size_t attempt) const {
        const auto before = static_cast<double>(state.answer().size());
        const double whole = before + static_cast<double>(state.tokens_left);
        const double reached =
            segment.finished ? 1 : (before + static_cast<double>(segment.tokens().size())) / whole;
        const double threshold = options_.start + (options_.target - options_.start) * reached;
        return std::log(state.key.fold_in(acceptance_key).uniform(attempt)) <=
               (reward - threshold) / options_.softness;
    }

    static void close(block_step& step, const std::vector<bool>& ends) {
        step.tokens = step.blocks[step.choice];
        step.ends = ends[step.choice];
        for (std::size_t draw = 1; draw < step.blocks.size(); ++draw)
            step.kl += 1 / static_cast<double>(draw);
        step.log_p.assign(step.blocks.size(), -std::numeric_limits<double>::infinity());
        step.log_p[step.choice] = 0;
    }

    Proposer proposer_;
    Judge judge_;
    segment_rejection_options options_;
    token_list end_tokens_;
};

template <class Proposer, class Judge>
segment_rejection(Proposer&&, Judge&&, segment_rejection_options = {})
    -> segment_rejection<detail::usable_policy<Proposer>, detail::usable_reward<Judge>>;

}  // namespace tq
