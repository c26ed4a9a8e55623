#pragma once
// reward_head: a linear head on a GGUF trunk's last hidden state; models tq::reward.

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../concepts/reward.hpp"
#include "../../core/error.hpp"
#include "../../core/trajectory.hpp"
#include "../../kernels/projection.hpp"
#include "engine_owner.hpp"
#include "linear_head.hpp"
#include "model_file.hpp"
#include "options.hpp"
#include "safetensors.hpp"

namespace tq::llama_cpp {

/// r(x, y) = squash(w . h + b), where h is the trunk's state, after the final norm, of the answer's
/// last token (of the prompt's last token if the answer is empty).
///
/// The head is a safetensors file: that of a whole classifier, the shard or the
/// model.safetensors.index.json that has the last layer, or one with that layer alone. The layer is
/// `score.weight` [1, hidden], [hidden], [hidden, 1] or [labels, hidden] and, optionally,
/// `score.bias`; or, instead of score: classifier, v_head, v_head.summary, reward_head, value_head,
/// regression_layer or rm_head, also as in PEFT's adapters. Metadata may say: `pooling`, only
/// "last" (the default); `state`, only "after final norm" (the default); `squash`, "sigmoid" or
/// "none" (the default).
///
/// Scores do not depend on the other answers but for float noise: llama.cpp picks other kernels for
/// other batch shapes, which moves a squashed score by up to about 0.02. Prefixes are shared with
/// earlier calls and within a call. The trunk must share the policy's vocabulary. Not thread-safe.
class reward_head : public detail::engine_owner {
public:
    /// Throws invalid_option for options out of range and for a head that is faulty or does not
    /// fit.
    reward_head(model_file trunk, const std::string& head,
                const language_model_options& options = {},
                const reward_head_options& head_options = {})
        : engine_owner{std::move(trunk), options, detail::row_kind::states} {
        safetensors_file file{detail::head_file(head, head_options.tensor)};
        head_ = detail::read_head(file, source().hidden_size(), head_options);
        read_metadata(file);
    }

    /// values[i] = r(answers[i]). Throws invalid_option if prompt and answer are both empty, longer
    /// than the context together or have tokens outside the vocabulary; backend_error if decoding
    /// fails. The object stays usable.
    void score(std::span<const answer_view> answers, std::span<double> values) {
        score_raw(answers, values);
        if (!sigmoid_) return;
        for (double& value : values.first(answers.size())) value = 1 / (1 + std::exp(-value));
    }

    /// values[i] = w . h + b, before the squash.
    void score_raw(std::span<const answer_view> answers, std::span<double> values) {
        check_option(values.size() == answers.size(), "reward_head::score", "values size",
                     values.size(), "the number of answers, " + std::to_string(answers.size()));
        if (answers.empty()) return;
        project(rows(join(answers)), head_.weight, head_.bias, values);
    }

    /// [0, 1] with a sigmoid; everything without.
    [[nodiscard]] reward_range range() const noexcept {
        return sigmoid_ ? reward_range{0, 1} : reward_range{};
    }

private:
    void read_metadata(const safetensors_file& file) {
        const auto expect = [&](const char* key, const std::string& value, bool ok,
                                const char* allowed) {
            if (!ok)
                file.fail("metadata " + std::string{key} + " = " + value + ", must be " + allowed);
        };
        const std::string pooling = file.metadata("pooling", "last");
        const std::string state = file.metadata("state", "after final norm");
        const std::string squash = file.metadata("squash", "none");
        expect("pooling", pooling, pooling == "last", "last");
        expect("state", state, state == "after final norm", "after final norm");
        expect("squash", squash, squash == "sigmoid" || squash == "none", "sigmoid or none");
        sigmoid_ = squash == "sigmoid";
    }

    /// Prompt and answer of each, as one sequence.
    [[nodiscard]] std::span<const token_view> join(std::span<const answer_view> answers) {
        sequences_.resize(answers.size());
        views_.clear();
        for (std::size_t i = 0; i < answers.size(); ++i) {
            sequences_[i].assign(answers[i].prompt.begin(), answers[i].prompt.end());
            sequences_[i].insert(sequences_[i].end(), answers[i].answer.begin(),
                                 answers[i].answer.end());
            views_.emplace_back(sequences_[i]);
        }
        return views_;
    }

    detail::linear_head head_;
    bool sigmoid_ = false;
    std::vector<token_list> sequences_;  // of the present call
    std::vector<token_view> views_;      // of the present call
};

}  // namespace tq::llama_cpp
