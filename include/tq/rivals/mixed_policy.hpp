#pragma once
// Mixing the logits of two models while decoding: DeRa, proxy tuning.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "../concepts/policy.hpp"
#include "../core/error.hpp"

namespace tq {

/// A policy whose logits are (1 - weight) those of `base` plus weight times those of `aligned`:
///
///     pi(z|s) ∝ pi_base(z|s)^(1 - weight) pi_aligned(z|s)^weight
///
/// If `aligned` is the optimum of E[r] - beta KL(. || base), the token-level mixture approximates
/// that of beta / weight: weight > 1 aligns more than training did, 0 is the base, 1 the aligned
/// model. It needs no reward and no rollout.
///
/// Model tokens per emitted token: 2, one of each model.
/// Source: Liu et al., "Decoding-time realignment of language models" (DeRa), ICML 2024, arXiv
/// 2402.02992; proxy tuning: Liu et al., arXiv 2401.08565.
///
/// edges: weight 0 and 1 give that model's own row; otherwise a token that either model forbids
///        (-inf) is forbidden; NaN stays NaN
/// Lvalue models are held by reference and must outlive it; rvalues are moved in. Not thread-safe.
template <class Base, class Aligned>
class mixed_policy {
    static_assert(explain_policy<std::remove_reference_t<Base>>());
    static_assert(explain_policy<std::remove_reference_t<Aligned>>());

public:
    /// weight: finite. Throws invalid_option otherwise, and for vocabularies of different sizes.
    mixed_policy(Base&& base, Aligned&& aligned, double weight)
        : base_(std::forward<Base>(base)),
          aligned_(std::forward<Aligned>(aligned)),
          weight_{weight} {
        check_option(std::isfinite(weight), "mixed_policy", "weight", weight, "finite");
        check_option(vocab_size_of(base_) == vocab_size_of(aligned_), "mixed_policy",
                     "vocabulary of the aligned model", vocab_size_of(aligned_),
                     "that of the base, " + std::to_string(vocab_size_of(base_)) + " tokens");
    }

    [[nodiscard]] std::size_t vocab_size() const { return vocab_size_of(base_); }
    [[nodiscard]] token_view end_tokens() const { return end_tokens_of(base_); }
    /// Sequences that it likes to see in one call.
    [[nodiscard]] std::size_t max_batch() const {
        return (std::min)(max_batch_of(base_), max_batch_of(aligned_));
    }

    /// Models policy.
    [[nodiscard]] std::span<const logits_view> next_logits(std::span<const token_view> sequences) {
        if (weight_ == 0) return logits_of(base_, sequences);
        if (weight_ == 1) return logits_of(aligned_, sequences);
        // The base's rows are copied first: both may be one object, whose next call ends their
        // life.
        const std::span<const logits_view> base = logits_of(base_, sequences);
        mixed_.resize(sequences.size());
        for (std::size_t i = 0; i < base.size(); ++i)
            mixed_[i].assign(base[i].begin(), base[i].end());
        const std::span<const logits_view> aligned = logits_of(aligned_, sequences);
        rows_.clear();
        for (std::size_t i = 0; i < aligned.size(); ++i) {
            for (std::size_t z = 0; z < mixed_[i].size(); ++z)
                mixed_[i][z] = mix(mixed_[i][z], aligned[i][z]);
            rows_.emplace_back(mixed_[i]);
        }
        return rows_;
    }

private:
    [[nodiscard]] float mix(float base, float aligned) const noexcept {
        constexpr float forbidden = -std::numeric_limits<float>::infinity();
        if (base == forbidden || aligned == forbidden) return forbidden;
        return static_cast<float>((1 - weight_) * static_cast<double>(base) +
                                  weight_ * static_cast<double>(aligned));
    }

    Base base_;
    Aligned aligned_;
    double weight_;
    std::vector<std::vector<float>> mixed_;  // [sequences] rows
    std::vector<logits_view> rows_;
};

template <class Base, class Aligned>
mixed_policy(Base&&, Aligned&&, double) -> mixed_policy<Base, Aligned>;

}  // namespace tq
