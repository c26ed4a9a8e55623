#pragma once
// How much an answer repeats itself.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "../core/token.hpp"

namespace tq {

namespace detail {

/// How many n-grams there are in some texts, and how many different ones.
struct ngram_count {
    std::size_t all = 0, unique = 0;
};

[[nodiscard]] inline ngram_count count_ngrams(std::span<const token_view> texts, std::size_t n) {
    std::vector<token_view> ngrams;
    for (const token_view text : texts)
        for (std::size_t i = 0; i + n <= text.size(); ++i) ngrams.push_back(text.subspan(i, n));
    const auto less = [](token_view a, token_view b) {
        return std::ranges::lexicographical_compare(a, b);
    };
    std::ranges::sort(ngrams, less);
    ngram_count count{.all = ngrams.size()};
    for (std::size_t i = 0; i < ngrams.size(); ++i)
        count.unique += i == 0 || !std::ranges::equal(ngrams[i - 1], ngrams[i]);
    return count;
}

}  // namespace detail

/// rep_n = 1 - (different n-grams) / (n-grams) of one text, in [0, 1); 0 if it is shorter than n.
/// Source: Welleck et al., "Neural text generation with unlikelihood training", ICLR 2020. n >= 1.
[[nodiscard]] inline double repetition(token_view text, std::size_t n) {
    const detail::ngram_count count = detail::count_ngrams({&text, 1}, n);
    if (count.all == 0) return 0;
    return 1 - static_cast<double>(count.unique) / static_cast<double>(count.all);
}

/// The product over n = 2, 3, 4 of 1 - rep_n: 1 if nothing repeats.
/// Tokens may be those of a model or numbers of words; say which, the figures differ.
/// Source: Su et al., "A contrastive framework for neural text generation", NeurIPS 2022, as used
/// by ARGS (arXiv 2402.01694) and TQ* (arXiv 2405.20495).
[[nodiscard]] inline double diversity(token_view text) {
    double product = 1;
    for (const std::size_t n : {2U, 3U, 4U}) product *= 1 - repetition(text, n);
    return product;
}

/// distinct-n: different n-grams over n-grams of all texts together; NaN if there is none. It falls
/// as texts grow longer or more, so compare equal amounts only.
/// Source: Li et al., "A diversity-promoting objective function", NAACL 2016. n >= 1.
[[nodiscard]] inline double distinct(std::span<const token_view> texts, std::size_t n) {
    const detail::ngram_count count = detail::count_ngrams(texts, n);
    if (count.all == 0) return std::numeric_limits<double>::quiet_NaN();
    return static_cast<double>(count.unique) / static_cast<double>(count.all);
}

}  // namespace tq
