#pragma once
// What is measured of finished answers, besides their reward.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "config.hpp"
#include "journal.hpp"

namespace evaluation {

/// Of one answer; NaN = unknown.
struct measures {
    double judge;       ///< score by the judge
    double coherence;   ///< cosine similarity of the embeddings of prompt and answer
    double perplexity;  ///< under the policy, of the answer's tokens
    double diversity;   ///< product over n = 2..4 of 1 - rep_n, on tokens
};

/// Of all answers of the methods that are still in the configuration.
struct measurements {
    std::map<answer_key, measures> answers;
    /// What a judge of pairs said, by method: 1 = better than the answer of config::against to the same
    /// prompt, 0 = worse, 0.5 = a tie.
    std::map<std::string, std::vector<double>> verdicts;
};

/// Measures all answers of the journal. The judge is a command, which runs in the configuration's folder; its
/// input and output stay in `folder`, and it is not asked again while its input, its command and the files
/// that the command names are the same. What it writes counts only if it succeeds.
/// Throws tq::backend_error if the command fails or writes something else than a number per line;
/// invalid_option for an answer with a token outside the vocabulary.
[[nodiscard]] measurements measure(const config& config, const std::vector<prompt>& prompts,
                                   const journal& journal, const std::filesystem::path& folder,
                                   std::size_t threads);

/// The pairs of answers to the same prompt that two methods are compared by: of the same seed, unless one of
/// the methods gives the same answer for every seed.
void each_pair(const config& config, const journal& journal, const method_config& a,
               const method_config& b,
               const std::function<void(const answer&, const answer&)>& use);

}  // namespace evaluation
