#pragma once
// A small world as a policy and a reward, so that the real decoder can be run against the truth.

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "../concepts/action_value.hpp"
#include "../concepts/policy.hpp"
#include "../concepts/reward.hpp"
#include "enumerate.hpp"

namespace tq::tabular {

/// A tree's policy as a tq policy. Sequences are a prompt of `prompt_size` tokens (any tokens of
/// the vocabulary) and an answer of the tree. Logits are the log-probabilities, rounded to float.
/// The tree must outlive it.
class tree_policy {
public:
    /// pi: log-probabilities at the nodes.
    tree_policy(const tree& world, const log_policy& pi, std::size_t prompt_size = 1)
        : world_{&world},
          prompt_size_{prompt_size},
          logits_(pi.begin(), pi.end()),
          leaf_(world.vocab_size(), 0.0F) {
        if (world.end_token() != tree::no_end) end_tokens_.push_back(world.end_token());
    }

    [[nodiscard]] std::size_t vocab_size() const noexcept { return world_->vocab_size(); }
    [[nodiscard]] token_view end_tokens() const noexcept { return end_tokens_; }

    /// Models policy. An answer that is complete gets a flat row. Throws invalid_option for a
    /// sequence that is not in the tree.
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        rows_.clear();
        for (const token_view sequence : sequences) {
            const node_id node = world_->find(sequence.subspan(prompt_size_));
            rows_.push_back(world_->is_leaf(node) ? logits_view{leaf_}
                                                  : logits_view{logits_}.subspan(
                                                        world_->child(node, 0), vocab_size()));
        }
        return rows_;
    }

private:
    const tree* world_;
    std::size_t prompt_size_;
    std::vector<float> logits_;  // [nodes]
    std::vector<float> leaf_;    // [V]
    token_list end_tokens_;
    std::vector<logits_view> rows_;  // [sequences of the last call]
};

/// Node values as a tq reward; the tree must outlive it.
class tree_reward {
public:
    /// rewards: of the leaves.
    tree_reward(const tree& world, node_values rewards)
        : world_{&world},
          rewards_{std::move(rewards)} {}

    /// Models batch_reward. Throws invalid_option for an answer that is not in the tree.
    void score(std::span<const answer_view> answers, std::span<double> values) const {
        for (std::size_t i = 0; i < answers.size(); ++i)
            values[i] = rewards_[world_->find(answers[i].answer, answers[i].finished)];
    }

private:
    const tree* world_;
    node_values rewards_;
};

/// Exact node values as a tq action value; the tree must outlive it.
class tree_value {
public:
    /// q: at the nodes [s, z].
    tree_value(const tree& world, node_values q) : world_{&world}, q_{std::move(q)} {}

    /// Models action_value.
    void evaluate(std::span<const value_query> queries) const {
        for (const value_query& query : queries) {
            const node_id node = world_->find(query.state.answer());
            for (std::size_t i = 0; i < query.candidates.size(); ++i)
                query.values[i] = {
                    .q = q_[world_->child(node, static_cast<std::size_t>(query.candidates[i]))],
                    .standard_error = 0,
                    .rollouts = 0};
        }
    }

private:
    const tree* world_;
    node_values q_;
};

}  // namespace tq::tabular
