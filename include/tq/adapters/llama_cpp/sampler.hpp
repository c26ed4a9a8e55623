#pragma once
// make_sampler: the tilt as a llama_sampler, for anybody's sampler chain.

#include <llama.h>

#include <cmath>
#include <cstddef>
#include <exception>
#include <memory>
#include <utility>

#include "../../core/error.hpp"
#include "../../core/token.hpp"
#include "../../decode/any_action_value.hpp"
#include "../../decode/generation.hpp"
#include "model_file.hpp"
#include "sampler_state.hpp"

namespace tq::llama_cpp {

namespace detail {

inline sampler_state& state_of(const llama_sampler* sampler) {
    return *static_cast<sampler_state*>(sampler->ctx);
}

/// Calls action(); what it throws is kept for rethrow(): no exception may leave through C.
template <class Action>
void guarded(const llama_sampler* sampler, Action action) noexcept {
    try {
        action();
    } catch (...) {
        state_of(sampler).keep(std::current_exception());
    }
}

inline const char* sampler_name(const llama_sampler*) { return "tq"; }

inline llama_sampler_i* sampler_interface();

inline llama_sampler* sampler_clone(const llama_sampler* sampler) {
    try {
        return llama_sampler_init(sampler_interface(), new sampler_state{state_of(sampler)});
    } catch (...) {
        return nullptr;  // no memory
    }
}

/// The table of functions, assigned by name: llama.cpp adds members from time to time.
inline llama_sampler_i* sampler_interface() {
    static llama_sampler_i table = [] {
        llama_sampler_i result{};
        result.name = sampler_name;
        result.accept = [](llama_sampler* sampler, llama_token token) {
            guarded(sampler, [&] { state_of(sampler).accept(token); });
        };
        result.apply = [](llama_sampler* sampler, llama_token_data_array* candidates) {
            guarded(sampler, [&] { state_of(sampler).apply(*candidates); });
        };
        result.reset = [](llama_sampler* sampler) { state_of(sampler).reset(); };
        result.clone = sampler_clone;
        result.free = [](llama_sampler* sampler) { delete &state_of(sampler); };
        result.copy_state = [](const llama_sampler* from, llama_sampler* to) {
            guarded(to, [&] { state_of(to).copy_progress(state_of(from)); });
        };
        return result;
    }();
    return &table;
}

/// The sampler itself, or those of a chain (and of chains in it) that make_sampler made.
template <class Action>
std::size_t for_each_sampler(llama_sampler* sampler, Action action) {
    if (sampler == nullptr) return 0;
    if (sampler->iface == sampler_interface()) return action(state_of(sampler)), 1;
    std::size_t found = 0;
    if (llama_sampler_chain_get(sampler, -1) == nullptr) return 0;  // not a chain
    for (int i = 0; i < llama_sampler_chain_n(sampler); ++i)
        found += for_each_sampler(llama_sampler_chain_get(sampler, i), action);
    return found;
}

inline void check_found(std::size_t found, const char* where) {
    check_option(found > 0, where, "sampler", "one without tq",
                 "one that make_sampler made, or a chain with it");
}

}  // namespace detail

/// A sampler that tilts its candidates by exp(Q / alpha), for a chain of llama.cpp's own:
///
///     llama_sampler_chain_add(chain, llama_sampler_init_top_k(8));
///     llama_sampler_chain_add(chain, tq::llama_cpp::make_sampler(policy, q, {.max_tokens = 64}));
///     llama_sampler_chain_add(chain, llama_sampler_init_dist(seed));
///     tq::llama_cpp::prime(chain, prompt_tokens);      // a chain never sees the prompt
///     ... the loop of llama_decode and llama_sampler_sample as it was ...
///     tq::llama_cpp::rethrow(chain);                   // throws what went wrong in between
///
///  * `policy` is the model whose logits come in (model_file::borrowed(handle), if other code has
///    loaded it); `value` any action value: an lvalue is held by reference and must outlive the
///    sampler and its clones. Its models have contexts of their own: the caller's is not touched.
///  * What comes before it (penalties, top_k, top_p, min_p, temperature) shapes the prior. A
///    temperature *after* it divides Q / alpha as well. Candidates with logit -inf stay out.
///  * The first error is kept for rethrow(); a step that failed leaves its candidates as they were,
///    so the answer goes on as the frozen model's, and the next step tries again.
///  * reset() goes back to the end of the prompt. Clones share the value: use them in one thread.
///
/// Owned by the caller until it is added to a chain. Throws invalid_option for options out of
/// range.
[[nodiscard]] inline llama_sampler* make_sampler(const model_file& policy, any_action_value value,
                                                 sampler_options options = {}) {
    check_option(options.max_tokens >= 1, "make_sampler", "max_tokens", options.max_tokens, ">= 1");
    check_option(options.max_candidates >= 1, "make_sampler", "max_candidates",
                 options.max_candidates, ">= 1");
    check_option(options.selects || std::isinf(options.decode.token_budget), "make_sampler",
                 "token_budget", options.decode.token_budget,
                 "inf, or selects = true: other samplers need every candidate's Q");
    options.decode.end_tokens = chosen_end_tokens(options.decode.end_tokens, policy);
    auto state = std::make_unique<detail::sampler_state>(policy.vocab_size(), std::move(value),
                                                         std::move(options));
    llama_sampler* sampler = llama_sampler_init(detail::sampler_interface(), state.get());
    (void)state.release();  // the sampler owns it
    return sampler;
}

/// Begins an answer to `prompt`, and forgets any error. `sampler` is one of make_sampler or a chain
/// with it. `index` tells the prompts of one seed apart. Throws invalid_option if the prompt is
/// empty or holds a token outside the vocabulary, or if the sampler is another one.
inline void prime(llama_sampler* sampler, token_view prompt, std::size_t index = 0) {
    detail::check_found(
        detail::for_each_sampler(sampler,
                                 [&](detail::sampler_state& state) { state.prime(prompt, index); }),
        "prime");
}

/// Throws the first error since prime() or the last rethrow(), if there was one.
inline void rethrow(llama_sampler* sampler) {
    detail::check_found(
        detail::for_each_sampler(sampler, [](detail::sampler_state& state) { state.rethrow(); }),
        "rethrow");
}

}  // namespace tq::llama_cpp
