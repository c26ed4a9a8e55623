#pragma once
// The kernels as a program gets them that is compiled with -O2 and no -m flag.

#include <llama.h>

#include <cstddef>
#include <span>
#include <tq/core/token.hpp>

namespace portable {

/// Tokens and logits of the k largest; returns the number found.
std::size_t top_k(tq::logits_view row, std::span<tq::token_id> tokens);
/// The same with the log-partition, which is returned.
double top_k_log_partition(tq::logits_view row, std::span<tq::token_id> tokens);
tq::token_id sample(tq::logits_view row, double u);

/// The candidate array that llama_sampler_sample makes of a row.
void fill(tq::logits_view row, llama_token_data* candidates);

}  // namespace portable
