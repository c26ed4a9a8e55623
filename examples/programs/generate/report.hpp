#pragma once
// What `generate` prints: answers as they come, then a table; or JSON lines.

#include <cstddef>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <tq/tq.hpp>

#include "arguments.hpp"

/// What was spent in the models.
struct usage {
    struct part {
        double seconds = 0;
        std::size_t tokens = 0;   // that went through the model
        std::size_t decodes = 0;  // batches they went in

        part& operator+=(const part& other) {
            seconds += other.seconds;
            tokens += other.tokens;
            decodes += other.decodes;
            return *this;
        }
        [[nodiscard]] part operator-(const part& other) const {
            return {seconds - other.seconds, tokens - other.tokens, decodes - other.decodes};
        }
    };
    part policy = {}, baseline = {}, reward = {};
    double kernel_seconds = 0;                        // in tq's kernels
    tq::rollout_stats rollouts = {};                  // how full their model calls were
    std::map<tq::race_mode, std::size_t> races = {};  // how many steps were decided in which way
    std::size_t unseen = 0;                           // steps decided without a rollout

    [[nodiscard]] std::size_t tokens() const {
        return policy.tokens + baseline.tokens + reward.tokens;
    }
    [[nodiscard]] usage operator-(const usage& other) const {
        usage result;
        result.policy = policy - other.policy;
        result.baseline = baseline - other.baseline;
        result.reward = reward - other.reward;
        return result;
    }
};

/// A finished answer and its figures.
struct answer {
    std::size_t prompt = 0;
    ::method method = method::plain;
    std::string text = {};
    std::size_t tokens = 0;  // emitted, end token left out
    bool finished = false;   // ended by the model, not by the limit
    double reward = 0;
    std::vector<double> terms = {};  // the rewards it is the sum of, without their weights
    double kl = 0;                   // divergence from the policy along the answer, nats
    double tilt_kl = 0;              // from what was tilted, the anchor
    double seconds = 0;
    usage spent = {};
    tq::weight_summary weights = {};  // of indirect and soft transfer

    [[nodiscard]] double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
};

[[nodiscard]] const char* name_of(method method);

/// Prints to standard output; a progress line goes to standard error if that is a terminal and the
/// text is not streamed to one.
class report {
public:
    /// `rewards` are the names of the rewards; one by itself is not shown twice.
    report(const arguments& args, const std::vector<std::string>& prompts,
           std::vector<std::string> rewards);

    void begin_prompt(std::size_t prompt);
    void begin_answer(method method);
    void piece(const std::string& text);  // one more token's worth of text
    void end_answer(const answer& answer);
    void summary() const;

    /// Appends one step of TQ* to the trace file, if there is one.
    void trace(const tq::step& step, std::size_t prompt,
               const std::vector<std::string>& candidate_texts);

private:
    void progress(bool done);
    void summary_json() const;
    void summary_of_terms() const;
    [[nodiscard]] std::vector<tq::value_estimate> terms_of(
        const std::vector<answer>& answers) const;
    void profile() const;
    [[nodiscard]] std::size_t prompts_answered() const;
    [[nodiscard]] tq::weight_summary weights_of_all() const;

    const arguments& args_;
    const std::vector<std::string>& prompts_;
    std::vector<std::string> rewards_;
    std::ofstream trace_;
    std::map<method, std::vector<answer>> answers_;
    bool show_progress_;
    std::size_t prompt_ = 0, position_ = 0;
    method method_ = method::plain;
};
