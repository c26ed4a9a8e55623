#pragma once
// One answer as a range of steps.

#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../concepts/weight_diagnostics.hpp"
#include "../core/token.hpp"

namespace tq {

/// A lazy input range over the steps of one answer: `for (const step& s : decode.generate(...))`.
///
/// begin() computes the first step and each increment one more. If that throws, what was produced
/// stays in answer(), and begin() or an increment retries the same decision.
template <class Generation>
class token_stream {
public:
    /// What one decision is.
    using step_type = typename Generation::step_type;

    /// A generation of one answer.
    explicit token_stream(Generation&& generation) : generation_{std::move(generation)} {}

    /// An input iterator; it moves only.
    class iterator {
    public:
        using value_type = step_type;                      ///< a step
        using difference_type = std::ptrdiff_t;            ///< signed
        using iterator_concept = std::input_iterator_tag;  ///< a single pass

        /// At the stream's current step.
        explicit iterator(token_stream* stream) : stream_{stream} {}
        iterator(iterator&&) noexcept = default;
        iterator& operator=(iterator&&) noexcept = default;

        [[nodiscard]] const step_type& operator*() const noexcept { return *stream_->current_; }
        [[nodiscard]] const step_type* operator->() const noexcept { return stream_->current_; }
        /// Computes the next step.
        iterator& operator++() {
            stream_->advance();
            return *this;
        }
        /// Computes the next step.
        void operator++(int) { ++*this; }
        /// True after the last step.
        [[nodiscard]] friend bool operator==(const iterator& it, std::default_sentinel_t) noexcept {
            return it.at_end();
        }

    private:
        [[nodiscard]] bool at_end() const noexcept { return stream_->current_ == nullptr; }
        token_stream* stream_;
    };

    /// Computes the first step.
    [[nodiscard]] iterator begin() {
        if (!started_) advance();
        return iterator{this};
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// The tokens so far.
    [[nodiscard]] token_view answer() const noexcept { return generation_.answer(0); }
    /// True if the model ended the answer.
    [[nodiscard]] bool finished() const noexcept { return generation_.finished(0); }
    /// Divergence from the policy so far, in nats.
    [[nodiscard]] double kl() const noexcept { return generation_.kl(0); }
    /// The same from what is tilted, the anchor.
    [[nodiscard]] double tilt_kl() const noexcept { return generation_.tilt_kl(0); }
    /// How the importance weights went.
    [[nodiscard]] weight_summary weights() const noexcept { return generation_.weights(0); }
    /// See generation::notes.
    [[nodiscard]] std::vector<std::string> notes() const { return generation_.notes(); }

private:
    void advance() {
        started_ = false;  // if this throws, begin() retries
        const std::span<const step_type> steps = generation_.advance();
        started_ = true;
        current_ = steps.empty() ? nullptr : &steps.front();
    }

    Generation generation_;
    const step_type* current_ = nullptr;
    bool started_ = false;
};

}  // namespace tq
