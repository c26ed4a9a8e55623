#pragma once
// Decoding what is missing from the journal.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "config.hpp"
#include "journal.hpp"

namespace evaluation {

/// Told of every piece of work: how many tokens of answers are done, of how many at most, and what is
/// being worked on.
using progress_report =
    std::function<void(std::size_t done, std::size_t all, const std::string& what)>;

/// Decodes all answers that the journal lacks, `together` prompts of one method and seed at a time.
/// A piece that is only partly in the journal is decoded as a whole, and what was missing is added: llama.cpp
/// rounds differently for other batch shapes, so that this alone makes a resumed run equal to one that was
/// never stopped. For the same reason caches are cleared before each piece.
/// What a model or reward throws passes through; finished answers are safe in the journal.
void decode_missing(const config& config, const std::vector<prompt>& prompts, journal& journal,
                    const std::filesystem::path& timings, std::size_t threads,
                    const progress_report& progress);

}  // namespace evaluation
