#pragma once
// Gumbel noise for a whole vocabulary, its argmax, and the tokens near that argmax.
//
// The argmax of logit + noise is a sample of the softmax (Gumbel 1954; Maddison, Tarlow & Minka,
// "A* sampling", NeurIPS 2014). A logarithm for every token of a vocabulary is dear, so the scans
// below compute for every token a cheap upper bound of its score (no logarithm, a few vector
// instructions) and evaluate the true score only where the bound reaches what is sought.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "../core/random.hpp"
#include "../core/token.hpp"
#include "argmax.hpp"
#include "log_sum_exp.hpp"
#include "row_blocks.hpp"

namespace tq::inline TQSTAR_KERNEL_ABI {

/// Standard Gumbel noise for every token of a vocabulary: a pure function of (key, token).
///
///     g = -log(-log u),  u = (h + 1/2) / 2^32,  h = 32 mixed bits of (key, token)
///
/// h is a keyed permutation of the 32-bit integers (two integer finalisers, the key's halves added
/// before each), so that no two tokens share a value; the halves are Philox bits of the key, so
/// that neighbouring seeds are as good as fold_in. The values lie on 2^32 points in [-3.14, 22.88].
/// threads: a value; copy and share it freely. The same for every compiler and every -m flag.
class gumbel_field {
public:
    /// Equal keys have equal fields.
    explicit constexpr gumbel_field(random_key key) noexcept : bits_{key.bits(purpose)} {}

    /// The noise of one token.
    [[nodiscard]] double operator()(token_id token) const noexcept {
        const double u = (static_cast<double>(hash(token)) + 0.5) * 0x1p-32;
        return -std::log(-std::log(u));
    }

    /// The 32 bits behind a token's noise, which rises with them.
    [[nodiscard]] constexpr std::uint32_t hash(token_id token) const noexcept {
        return kernel_detail::mixed_bits(static_cast<std::uint32_t>(token), low(), high());
    }

    /// The lower half of the 64 bits that the permutation is keyed with.
    [[nodiscard]] constexpr std::uint32_t low() const noexcept {
        return static_cast<std::uint32_t>(bits_);
    }
    /// The upper half.
    [[nodiscard]] constexpr std::uint32_t high() const noexcept {
        return static_cast<std::uint32_t>(bits_ >> 32);
    }

private:
    static constexpr std::uint64_t purpose = 0x67756d62656cU;  // away from the indices of uniform()
    std::uint64_t bits_;
};

/// A token and its score: logit / temperature, plus its noise if there is any.
struct scored_survivor {
    token_id token = 0;  ///< its place in the row
    double score = 0;    ///< log pi + noise, up to a constant of the row
    friend constexpr bool operator==(scored_survivor, scored_survivor) = default;
};

namespace kernel_detail {

/// Scores logit / temperature + noise of one row, and upper bounds of them.
class gumbel_scores {
public:
    gumbel_scores(logits_view row, const gumbel_field* field, double temperature,
                  const lane_kernels& lanes = best_lanes()) noexcept
        : row_{row},
          blocks_{row},
          field_{field},
          lanes_{&lanes},
          temperature_{temperature},
          scale_{static_cast<float>(1.0 / temperature)},
          bounded_{temperature > 1e-30 && temperature < 1e30} {}

    [[nodiscard]] double operator()(std::size_t i) const noexcept {
        const double noise = field_ ? (*field_)(static_cast<token_id>(i)) : 0.0;
        if (std::isinf(row_[i])) return static_cast<double>(row_[i]);
        return static_cast<double>(row_[i]) / temperature_ + noise;
    }

    /// Calls visit(token, score) for every token whose score reaches limit(), in order. Returns
    /// false if the row has a NaN.
    template <class Limit, class Visit>
    bool visit_from(Limit limit, Visit visit) const noexcept {
        bool any_nan = false;
        float bounds[chunk_blocks];
        for_each_chunk(blocks_, 0, blocks_.size(), chunk_blocks,
                       [&](std::size_t first, std::size_t count, const float* values) {
                           any_nan |= bound(values, first, count, bounds);
                           for (std::size_t b = 0; b < count; ++b)
                               if (!bounded_ || bounds[b] >= lowered(limit()))
                                   look_into(first + b, limit, visit);
                       });
        return !any_nan;
    }

private:
    /// What a bound has to stay below for its score to be surely below `limit`: room for the
    /// rounding of a bound (2e-5, and 3 ulp of logit / temperature).
    [[nodiscard]] static float lowered(double limit) noexcept {
        constexpr double lowest = -1e37;  // below, logit / temperature may overflow in float
        if (limit < lowest) return -std::numeric_limits<float>::infinity();
        if (limit > -lowest) return static_cast<float>(-lowest);
        return static_cast<float>(limit - 1e-3 - 1e-6 * std::abs(limit));
    }

    /// Writes an upper bound of the scores in each block; true: there is a NaN.
    bool bound(const float* values, std::size_t first, std::size_t count,
               float* bounds) const noexcept {
        if (field_)
            return lanes_->noise_maxima(
                values, count, scale_,
                {static_cast<std::uint32_t>(first * block_size), field_->low(), field_->high()},
                bounds);
        const bool any_nan = lanes_->maxima_nan(values, count, bounds);
        for (std::size_t b = 0; b < count; ++b) bounds[b] *= scale_;
        return any_nan;
    }

    template <class Limit, class Visit>
    void look_into(std::size_t block, Limit limit, Visit visit) const noexcept {
        const std::size_t begin = block * block_size;
        for (std::size_t i = begin; i < (std::min)(begin + block_size, row_.size()); ++i) {
            const float noise = field_ ? noise_bound(field_->hash(static_cast<token_id>(i))) : 0.0F;
            if (bounded_ && row_[i] * scale_ + noise < lowered(limit())) continue;
            if (const double score = (*this)(i); score >= limit())
                visit(static_cast<token_id>(i), score);
        }
    }

    logits_view row_;
    row_blocks blocks_;
    const gumbel_field* field_;
    const lane_kernels* lanes_;
    double temperature_;
    float scale_;
    bool bounded_;
};

/// Higher score first; among equals the lower token.
[[nodiscard]] inline bool survives_before(scored_survivor a, scored_survivor b) noexcept {
    return a.score > b.score || (a.score == b.score && a.token < b.token);
}

}  // namespace kernel_detail

/// The token of the largest logit / temperature + noise: a sample of softmax(row / temperature).
///
///     argmax_i row[i] / temperature + field(i), evaluated in double
///
/// Exact: the same token as the plain loop over all tokens.
///
/// shapes: row [V]; temperature in [0, inf]
/// edges:  NaN anywhere, an empty row or nothing but -inf -> no_token; +inf takes all (the lowest
///         one); temperature 0 -> argmax, inf -> every token but -inf is equally likely; ties ->
///         the lowest token
/// cost:   one read of the row and logarithms for a few dozen tokens; no allocation. Thread-safe.
[[nodiscard]] inline token_id gumbel_argmax(logits_view row, const gumbel_field& field,
                                            double temperature = 1.0) noexcept {
    if (temperature == 0.0) {
        const auto largest = kernel_detail::find_maximum(row);
        return largest.any_nan ? no_token : largest.token;
    }
    scored_survivor best{no_token, -std::numeric_limits<double>::infinity()};
    const bool defined = kernel_detail::gumbel_scores{row, &field, temperature}.visit_from(
        [&] { return best.score; },
        [&](token_id token, double score) {
            if (score > best.score) best = {token, score};
        });
    return defined ? best.token : no_token;
}

/// The tokens whose score comes within `width` of the largest.
///
///     { i : s_i >= max_j s_j - width, s_i > -inf },  s_i = row[i] / temperature + field(i)
///
/// Whatever is added to the scores, as long as it is in [0, width], the largest sum is one of
/// these.
/// Exact: the same set as the plain loop over all tokens in double.
///
/// shapes:  row [V]; best [k], filled with min(k, survivors) entries in order of falling score,
///          ties lowest token first; field == nullptr: no noise; width in [0, inf]; temperature in
///          (0, inf]
/// returns: the true number of survivors; more than k: `best` holds the best ones
/// edges:   -inf logits never survive, width inf keeps everything else; +inf leaves only +inf
///          (unless width is inf); NaN anywhere, an empty row or nothing but -inf -> 0; temperature
///          0 is not a race: no score is finite, 0 is returned
/// cost:    two reads of the row and logarithms for the survivors; O(log k) for each of them; no
///          allocation. Thread-safe.
inline std::size_t gumbel_survivors(logits_view row, const gumbel_field* field, double temperature,
                                    double width, std::span<scored_survivor> best) noexcept {
    using kernel_detail::survives_before;
    constexpr double inf = std::numeric_limits<double>::infinity();
    if (!(temperature > 0) || !(width >= 0)) return 0;
    const kernel_detail::gumbel_scores scores{row, field, temperature};
    double top = -inf;
    const auto raise = [&](token_id, double score) { top = (std::max)(top, score); };
    if (!scores.visit_from([&] { return top; }, raise)) return 0;
    const double bar = std::isinf(width) ? -inf : top - width;

    std::size_t survivors = 0, filled = 0;
    scores.visit_from([&] { return bar; },
                      [&](token_id token, double score) {
                          if (score == -inf) return;
                          ++survivors;
                          const scored_survivor entry{token, score};
                          if (filled < best.size())
                              ++filled;
                          else if (best.empty() || !survives_before(entry, best.front()))
                              return;
                          else
                              std::pop_heap(best.begin(), best.end(), survives_before);
                          best[filled - 1] = entry;
                          std::push_heap(best.begin(),
                                         best.begin() + static_cast<std::ptrdiff_t>(filled),
                                         survives_before);
                      });
    std::sort_heap(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(filled),
                   survives_before);
    return survivors;
}

}  // namespace tq::inline TQSTAR_KERNEL_ABI
