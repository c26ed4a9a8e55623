#pragma once
// What is measured of finished answers, besides their reward.

#include <cstddef>
#include <filesystem>
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

/// Measures all answers of the journal. Scores of the judge are asked for by a command, which runs in the
/// configuration's folder; its input and output stay in `folder`.
/// Throws tq::backend_error if the command fails or writes something else than a number per line.
[[nodiscard]] std::map<answer_key, measures> measure(const config& config,
                                                     const std::vector<std::string>& prompts,
                                                     const journal& journal,
                                                     const std::filesystem::path& folder,
                                                     std::size_t threads);

}  // namespace evaluation
