#pragma once
// The plain values that pass between the rooms: states, rollouts and answers.

#include <cstddef>
#include <limits>

#include "model_tokens.hpp"
#include "random.hpp"
#include "token.hpp"

namespace tq {

/// The state s_t = [x, y_<t] that a decision is made in.
struct decode_state {
    token_view sequence;          ///< prompt and answer so far, contiguous
    std::size_t prompt_size = 0;  ///< how much of `sequence` is the prompt
    std::size_t tokens_left = 0;  ///< answer tokens that may still come, this one included; >= 1
    token_view end_tokens;        ///< tokens that end the answer; they are not part of it
    random_key key{};             ///< of this prompt and this position
    std::size_t spent = 0;        ///< model tokens that look-ahead has cost this answer so far
    std::size_t unread = 0;       ///< tokens at the answer's end that look-ahead has not read yet
    double kl = 0;  ///< nats that the tilts have spent in this answer so far, over what they tilt

    /// The prompt x.
    [[nodiscard]] token_view prompt() const noexcept { return sequence.first(prompt_size); }
    /// The answer so far, y_<t.
    [[nodiscard]] token_view answer() const noexcept { return sequence.subspan(prompt_size); }
};

/// A finished or cut continuation. It keeps the whole sequence, so that it can be judged in place.
struct trajectory {
    token_list sequence;    ///< everything, from the prompt on; an end token is left out
    std::size_t start = 0;  ///< where the continuation begins
    bool finished = false;  ///< an end token was reached (not the limit)
    std::size_t rows =
        0;  ///< rows of logits it took: tokens fed to the model, the prefix not counted
    bool recalled = false;  ///< it goes on where a remembered one went through
    std::size_t known = 0;  ///< how many of its tokens were remembered, not computed

    /// log rho(continuation), end included (all end tokens together), under the law that it was
    /// drawn from; NaN = unknown, or nobody asked (rollout_request::log_probability).
    double log_probability = std::numeric_limits<double>::quiet_NaN();

    /// The continuation alone.
    [[nodiscard]] token_view tokens() const noexcept { return token_view{sequence}.subspan(start); }
};

/// What a reward judges: r(x, y).
struct answer_view {
    /// The prompt x.
    token_view prompt;
    token_view answer;      ///< end token left out; may be empty
    bool finished = false;  ///< true if the model ended it, false if it was cut
};

/// How the next token of a rollout is drawn: by inverse transform of one uniform number.
struct sampling_rule {
    double temperature = 1.0;  ///< [0, inf); 0 = greedy (argmax), 1 = the model as it is (no-op)
    double top_p = 1.0;        ///< (0, 1]; keep the smallest set of this mass; 1 = all (no-op)

    /// True if there is nothing random.
    [[nodiscard]] bool greedy() const noexcept { return temperature == 0.0; }
};

/// One continuation that is wanted from a baseline.
struct rollout_request {
    token_view sequence;          ///< what to continue; not empty
    std::size_t max_tokens = 0;   ///< the rollout's length at most; 0 = none, comes back as it is
    token_view end_tokens;        ///< reaching one of them finishes the rollout
    random_key key{};             ///< the token at position p of the sequence is drawn at index p
    std::size_t prompt_size = 0;  ///< how much of `sequence` is the prompt; some completers care
    /// Also find trajectory::log_probability, for importance weights; false = no-op. Needs a law
    /// that gives every token a probability: temperature > 0, top_p = 1.
    bool log_probability = false;
};

}  // namespace tq
