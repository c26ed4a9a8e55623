#pragma once
// Speculative rejection: best-of-n that gives up early on answers that begin badly.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
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

/// Options of speculative_rejection.
struct speculative_rejection_options {
    std::size_t candidates = 16;  ///< answers that are begun; >= 1
    std::size_t block = 8;        ///< tokens between two looks; >= 1. whole_answer = best-of-n
    /// Share of the answers that is given up at each look, those of least reward so far; [0, 1). At
    /// least one stays. 0 = best-of-n.
    double rejected = 0.5;
    sampling_rule proposal = {.temperature = 1.0, .top_p = 1.0};  ///< how answers are drawn
    /// Every random number is a function of it.
    std::uint64_t seed = 0;
    token_list end_tokens = {};  ///< empty = those that the proposer states
};

/// Throws invalid_option unless every field is in range.
inline void validate(const speculative_rejection_options& options, std::string_view where) {
    check_option(options.candidates >= 1, where, "candidates", options.candidates, ">= 1");
    check_option(options.block >= 1, where, "block", options.block, ">= 1");
    check_option(options.rejected >= 0 && options.rejected < 1, where, "rejected", options.rejected,
                 "in [0, 1)");
    validate(options.proposal, where);
    check_option(options.candidates == 1 || !options.proposal.greedy(), where, "candidates",
                 options.candidates,
                 "1 when the proposal is greedy (temperature 0): all are alike");
}

/// Begins `candidates` answers and looks at their rewards every `block` tokens; the worst are given
/// up, the rest goes on. Of those that are left in the end the best is the answer; it comes as one
/// step.
///
/// The original rejects by the quantile of the partial rewards when the GPU's memory is full; here
/// it is every `block` tokens. Answers that have ended stay in the comparison.
///
/// Model tokens per emitted token: at most 2 candidates (proposer and reward read every answer); by
/// default 32 tokens cost (16 + 8 + 4 + 2) / 64 of what best-of-16 costs, about half. Divergence
/// from the proposer: at most kl_of_best(candidates), which its step states.
/// Source: Sun et al., "Fast best-of-N decoding via speculative rejection", NeurIPS 2024, arXiv
/// 2410.20290.
///
/// Lvalues are held by reference and must outlive the object, rvalues are moved in.
/// threads: one object per thread; it uses the models it was given. Models decoding_method.
template <class Proposer, class Judge>
class speculative_rejection : public generates<speculative_rejection<Proposer, Judge>> {
    static_assert(explain_policy<std::remove_reference_t<Proposer>>());
    static_assert(explain_reward<std::remove_reference_t<Judge>>());

public:
    /// What one decision is.
    using step_type = block_step;

    /// Throws invalid_option if an option is out of range.
    speculative_rejection(Proposer&& proposer, Judge&& judge,
                          speculative_rejection_options options = {})
        : proposer_(std::forward<Proposer>(proposer)),
          judge_(std::forward<Judge>(judge)),
          options_{std::move(options)},
          end_tokens_{chosen_end_tokens(options_.end_tokens, proposer_)} {
        validate(options_, "speculative_rejection");
    }

    /// The whole rest of each answer.
    [[nodiscard]] std::vector<block_step> next(std::span<const decode_state> states) {
        std::vector<race_of_answers> races;
        for (const decode_state& state : states) races.push_back(start(state));
        while (write(races)) {
            look(races);
            for (race_of_answers& race : races) reject(race);
        }
        std::vector<block_step> steps;
        for (race_of_answers& race : races) steps.push_back(finish(race));
        return steps;
    }

    [[nodiscard]] const speculative_rejection_options& options() const noexcept { return options_; }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }
    [[nodiscard]] std::size_t vocab_size() { return vocab_size_of(proposer_); }

private:
    struct runner {
        trajectory text;
        double reward = std::numeric_limits<double>::quiet_NaN();  // so far
        std::size_t judged = 0;                                    // of its tokens
        bool fresh = false;  // it has grown or ended since it was judged
        bool live = true;
    };
    /// All answers to one prompt.
    struct race_of_answers {
        decode_state state;
        std::vector<runner> runners;
        model_tokens spent = {};

        [[nodiscard]] std::size_t written(const runner& one) const {
            return one.text.sequence.size() - state.sequence.size();
        }
        [[nodiscard]] bool open(const runner& one) const {
            return one.live && !one.text.finished && written(one) < state.tokens_left;
        }
        [[nodiscard]] std::size_t live() const {
            return static_cast<std::size_t>(std::ranges::count_if(runners, &runner::live));
        }
    };

    [[nodiscard]] race_of_answers start(const decode_state& state) const {
        race_of_answers race{.state = state, .runners = std::vector<runner>(options_.candidates)};
        for (runner& one : race.runners) {
            one.text.sequence.assign(state.sequence.begin(), state.sequence.end());
            one.text.start = state.sequence.size();
        }
        return race;
    }

    /// One more block for every open answer, all in flight together; false if there is none.
    [[nodiscard]] bool write(std::vector<race_of_answers>& races) {
        std::vector<rollout_request> requests;
        std::vector<std::pair<race_of_answers*, runner*>> owners;
        for (race_of_answers& race : races)
            for (std::size_t i = 0; i < race.runners.size(); ++i) {
                runner& one = race.runners[i];
                if (!race.open(one)) continue;
                requests.push_back(
                    {.sequence = one.text.sequence,
                     .max_tokens =
                         (std::min)(options_.block, race.state.tokens_left - race.written(one)),
                     .end_tokens = race.state.end_tokens,
                     .key = race.state.key.fold_in(i)});  // the engine folds in the position
                owners.emplace_back(&race, &one);
            }
        if (requests.empty()) return false;
        std::vector<trajectory> blocks = run_rollouts(proposer_, requests, options_.proposal);
        for (std::size_t n = 0; n < blocks.size(); ++n) {
            auto& [race, one] = owners[n];
            const bool shared = race->written(*one) == 0 && one != race->runners.data();
            race->spent.policy += blocks[n].rows - (shared ? 1 : 0);  // the first row is shared
            one->text = std::move(blocks[n]);
            one->fresh = true;
        }
        return true;
    }

    /// Judges what has grown where there is a choice, in one call.
    void look(std::vector<race_of_answers>& races) {
        std::vector<answer_view> answers;
        std::vector<std::pair<race_of_answers*, runner*>> owners;
        for (race_of_answers& race : races) {
            if (race.live() == 1) continue;
            for (runner& one : race.runners) {
                if (!one.live || !one.fresh) continue;
                const std::size_t grown = race.written(one) - one.judged;
                answers.push_back(
                    {.prompt = race.state.prompt(),
                     .answer = token_view{one.text.sequence}.subspan(race.state.prompt_size),
                     .finished = one.text.finished});
                owners.emplace_back(&race, &one);
                race.spent.reward += grown;
                one.judged += grown;
                one.fresh = false;
            }
        }
        std::vector<double> rewards(answers.size());
        score_answers(judge_, answers, rewards, "speculative_rejection");
        for (std::size_t n = 0; n < owners.size(); ++n) owners[n].second->reward = rewards[n];
    }

    /// Gives up the worst; ties go to the answer that comes first.
    void reject(race_of_answers& race) const {
        std::vector<runner*> live;
        bool any_open = false;
        for (runner& one : race.runners) {
            if (!one.live) continue;
            live.push_back(&one);
            any_open = any_open || race.open(one);
        }
        if (!any_open || live.size() == 1) return;
        const auto gone =
            static_cast<std::size_t>(options_.rejected * static_cast<double>(live.size()));
        std::ranges::stable_sort(live, std::greater{}, &runner::reward);
        for (std::size_t n = 0; n < (std::min)(gone, live.size() - 1); ++n)
            live[live.size() - 1 - n]->live = false;
    }

    [[nodiscard]] block_step finish(race_of_answers& race) const {
        block_step step;
        step.position = race.state.answer().size();
        step.spent = race.spent;
        step.kl = kl_of_best(race.runners.size());
        const runner* best = nullptr;
        for (std::size_t i = 0; i < race.runners.size(); ++i) {
            const runner& one = race.runners[i];
            const token_view text =
                token_view{one.text.sequence}.subspan(race.state.sequence.size());
            step.blocks.emplace_back(text.begin(), text.end());
            step.q.push_back(one.reward);
            step.q_error.push_back(std::numeric_limits<double>::quiet_NaN());
            if (!one.live || (best != nullptr && !(one.reward > best->reward))) continue;
            best = &one;
            step.choice = i;
        }
        step.log_p.assign(race.runners.size(), -std::numeric_limits<double>::infinity());
        step.log_p[step.choice] = 0;
        step.tokens = step.blocks[step.choice];
        step.ends = race.runners[step.choice].text.finished;
        return step;
    }

    Proposer proposer_;
    Judge judge_;
    speculative_rejection_options options_;
    token_list end_tokens_;
};

template <class Proposer, class Judge>
speculative_rejection(Proposer&&, Judge&&, speculative_rejection_options = {})
    -> speculative_rejection<detail::usable_policy<Proposer>, detail::usable_reward<Judge>>;

}  // namespace tq
