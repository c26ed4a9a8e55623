#pragma once
// The tree of all answers of a small world.

#include <cstddef>
#include <string>
#include <vector>

#include "../core/error.hpp"
#include "../core/token.hpp"

namespace tq::tabular {

/// Number of a prefix.
using node_id = std::size_t;

/// Every prefix of every answer with at most `depth` tokens of a vocabulary of V. Nodes are
/// numbered from the root outwards, so a node's number is larger than its parent's. An answer ends
/// at `depth` tokens, or at the end token if there is one.
class tree {
public:
    /// Answers end by length alone.
    static constexpr token_id no_end = -1;

    /// V >= 1, depth >= 1, at most 5 million nodes, end_token in [0, V) or no_end.
    /// Throws invalid_option otherwise.
    tree(std::size_t vocab_size, std::size_t depth, token_id end_token = no_end)
        : vocab_size_{vocab_size},
          depth_{depth},
          end_token_{end_token} {
        check_option(vocab_size >= 1, "tree", "vocab_size", vocab_size, ">= 1");
        check_option(depth >= 1, "tree", "depth", depth, ">= 1");
        check_option(end_token >= no_end && end_token < static_cast<token_id>(vocab_size), "tree",
                     "end_token", end_token, "-1 or in [0, " + std::to_string(vocab_size) + ")");
        nodes_.push_back({});
        for (node_id node = 0; node < nodes_.size(); ++node)
            if (!is_leaf(node)) grow(node);
    }

    [[nodiscard]] std::size_t vocab_size() const noexcept { return vocab_size_; }
    /// Tokens of an answer, at most.
    [[nodiscard]] std::size_t depth() const noexcept { return depth_; }
    /// What ends an answer, or no_end.
    [[nodiscard]] token_id end_token() const noexcept { return end_token_; }
    /// Number of nodes.
    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    /// The empty answer.
    [[nodiscard]] static constexpr node_id root() noexcept { return 0; }

    /// True if the answer is complete.
    [[nodiscard]] bool is_leaf(node_id node) const noexcept {
        return nodes_[node].depth == depth_ || (node != root() && nodes_[node].token == end_token_);
    }
    /// Tokens of the prefix.
    [[nodiscard]] std::size_t depth_of(node_id node) const noexcept { return nodes_[node].depth; }
    /// The prefix without its last token.
    [[nodiscard]] node_id parent(node_id node) const noexcept { return nodes_[node].parent; }
    /// The last token of the prefix.
    [[nodiscard]] token_id token(node_id node) const noexcept { return nodes_[node].token; }

    /// The node after `token`; `node` must not be a leaf.
    [[nodiscard]] node_id child(node_id node, std::size_t token) const noexcept {
        return nodes_[node].first_child + token;
    }

    /// The node of an answer; finished = an end token came after it.
    /// Throws invalid_option if the tree has no such answer.
    [[nodiscard]] node_id find(token_view answer, bool finished = false) const {
        node_id node = root();
        for (const token_id token : answer) node = step(node, token);
        return finished ? step(node, end_token_) : node;
    }

private:
    struct entry {
        node_id parent = 0, first_child = 0;
        std::size_t depth = 0;
        token_id token = no_end;
    };

    void grow(node_id node) {
        check_option(nodes_.size() + vocab_size_ <= 5'000'000, "tree", "nodes",
                     nodes_.size() + vocab_size_, "<= 5000000");
        nodes_[node].first_child = nodes_.size();
        const std::size_t depth = nodes_[node].depth + 1;
        for (std::size_t z = 0; z < vocab_size_; ++z)
            nodes_.push_back({.parent = node, .depth = depth, .token = static_cast<token_id>(z)});
    }

    [[nodiscard]] node_id step(node_id node, token_id token) const {
        check_option(is_token(token, vocab_size_), "tree", "token", token,
                     "in [0, " + std::to_string(vocab_size_) + ")");
        check_option(!is_leaf(node), "tree", "answer length", depth_of(node) + 1,
                     "no longer than the answer that ends there");
        return child(node, static_cast<std::size_t>(token));
    }

    std::size_t vocab_size_, depth_;
    token_id end_token_;
    std::vector<entry> nodes_;
};

}  // namespace tq::tabular
