#pragma once
// self_check: does a reward on a server say what its model says?

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "../../concepts/reward.hpp"
#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "../../core/trajectory.hpp"

namespace tq::http {

/// A score that is known from elsewhere: from the library that the model was trained with, for the
/// text of these very tokens.
struct known_score {
    token_list prompt, answer;
    double score = 0;
    bool finished = false;  ///< the answer ended by itself
};

/// Asks for scores that are known. Servers ignore fields that they do not know, so nothing else
/// shows that one applies a sigmoid, adds special tokens or a template, or says the same of every
/// text.
///
/// known:     two or more, not all with the same score
/// tolerance: of each score; > 0
/// errors:    invalid_option for these; backend_error that names the first score that differs
template <reward Judge>
void self_check(Judge& judge, const std::vector<known_score>& known, double tolerance = 0.01) {
    const auto differs = [](const known_score& a, const known_score& b) {
        return a.score != b.score;
    };
    check_option(std::ranges::adjacent_find(known, differs) != known.end(), "self_check", "known",
                 std::to_string(known.size()) + " scores", "two or more that differ");
    check_option(tolerance > 0, "self_check", "tolerance", tolerance, "> 0");
    std::vector<answer_view> answers;
    for (const known_score& one : known) answers.push_back({one.prompt, one.answer, one.finished});
    std::vector<double> values(known.size());
    score_answers(judge, answers, values, "self_check");
    for (std::size_t i = 0; i < known.size(); ++i) {
        const double score = known[i].score;
        if (std::abs(values[i] - score) <= tolerance) continue;
        const bool squashed = std::abs(values[i] - 1 / (1 + std::exp(-score))) <= tolerance;
        throw backend_error{"self_check: answer " + std::to_string(i) + " is known to have " +
                            std::to_string(score) + ", the server says " +
                            std::to_string(values[i]) + (squashed ? ", its sigmoid" : "")};
    }
}

}  // namespace tq::http
