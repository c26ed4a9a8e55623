#pragma once
// decoder: states in, decisions out. What all ways of decoding have in common.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "../core/model_tokens.hpp"
#include "../core/trajectory.hpp"
#include "weight_diagnostics.hpp"

namespace tq {

/// One decision: some tokens more of one answer.
///
///  1. `emitted()`: the tokens that it adds to the answer, an end token left out; none only if
///     `ends`.
///  2. `ends`: the model ended the answer after them.
///  3. `kl`, `tilt_kl()`: its divergence from the policy, and from what is tilted, in nats.
///  4. `spent`: what it cost, as model_tokens; `weights`: how weighted estimates went.
///  5. `prompt`: which answer it belongs to; whoever decodes many sets it.
template <class Step>
concept decoding_step = requires(Step& step, const Step& decided) {
    { decided.emitted() } -> std::convertible_to<token_view>;
    { decided.ends } -> std::convertible_to<bool>;
    { decided.kl } -> std::convertible_to<double>;
    { decided.tilt_kl() } -> std::convertible_to<double>;
    { decided.spent } -> std::convertible_to<model_tokens>;
    { decided.weights } -> std::convertible_to<weight_summary>;
    step.prompt = std::size_t{};
};

/// A way of decoding: the token-level decoder, the block decoder, the rejection methods, yours.
///
/// Requirements:
///  1. `step_type` is a decoding_step; `next(states)` returns a vector of one for each state, in
///     order. What it decides is a function of the state and its key, whatever else is in the
///     batch.
///  2. `end_tokens()` is a view of the tokens that end an answer.
///  3. It may throw; the object stays usable, and the same call again decides the same.
///
/// decode/generation.hpp makes generate, generate_all and streams of it.
template <class Method>
concept decoding_method = requires(Method& method, std::span<const decode_state> states) {
    requires decoding_step<typename Method::step_type>;
    { method.next(states) } -> std::convertible_to<std::vector<typename Method::step_type>>;
    { method.end_tokens() } -> std::convertible_to<token_view>;
};

}  // namespace tq
