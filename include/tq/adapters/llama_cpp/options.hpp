#pragma once
// What a llama.cpp context is made of.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <thread>

#include "../../core/error.hpp"

namespace tq::llama_cpp {

/// Options of language_model and reward_head. Each has a context of its own: a KV cache whose cells
/// all its sequences share, each common prefix once.
struct language_model_options {
    std::string lora = {};       ///< GGUF file of a LoRA adapter; empty = none
    float lora_scale = 1.0F;     ///< finite; 0 = as if there were no adapter
    std::size_t context = 4096;  ///< tokens that the KV cache holds in all; [max_sequences, 2^30)
    /// Sequences that one pass can hold; [1, 256]. With a sliding window [1, 128], and each takes
    /// the room of two rows of logits. A recurrent or hybrid model has as many states, all
    /// allocated at the start, and half as many sequences in a pass.
    std::size_t max_sequences = 64;
    std::size_t batch = 512;  ///< tokens of one llama_decode at most; [max_sequences, 2^30)
    std::size_t threads = 0;  ///< [0, 512]; 0 = all cores
    /// Rows of the sequences seen last that are kept, so that a sequence that comes again is not
    /// decoded again; [0, 2^20], 0 = none. Each takes vocabulary x 4 bytes (a reward's: hidden x
    /// 4).
    std::size_t kept_rows = 256;
};

namespace detail {

inline void validate(const language_model_options& o) {
    constexpr std::size_t largest = (std::numeric_limits<int>::max)() / 2;
    constexpr auto where = "language_model_options";
    check_option(std::isfinite(o.lora_scale), where, "lora_scale", o.lora_scale, "finite");
    check_option(o.max_sequences >= 1 && o.max_sequences <= 256, where, "max_sequences",
                 o.max_sequences, "in [1, 256]");
    check_option(o.context >= o.max_sequences && o.context <= largest, where, "context", o.context,
                 "in [max_sequences, 2^30)");
    check_option(o.batch >= o.max_sequences && o.batch <= largest, where, "batch", o.batch,
                 "in [max_sequences, 2^30)");
    check_option(o.threads <= 512, where, "threads", o.threads, "in [0, 512]");
    check_option(o.kept_rows <= (1U << 20U), where, "kept_rows", o.kept_rows, "in [0, 2^20]");
}

[[nodiscard]] inline int thread_count(const language_model_options& options) {
    if (options.threads > 0) return static_cast<int>(options.threads);
    return static_cast<int>((std::max)(1U, std::thread::hardware_concurrency()));
}

}  // namespace detail
}  // namespace tq::llama_cpp
