#pragma once
// What every header may assume of the compiler.

#include "version.hpp"

#if __cplusplus < 202002L || (defined(__clang__) && __clang_major__ < 14) || \
    (defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12)
#error "tq needs g++ 12 or clang 14, or later, and C++20: compile with -std=c++20"
#include <stop_here>  // there is none: no hundred errors more
#endif

// Masked logits are -inf, and -ffast-math lets the compiler assume there is no infinity: every
// log-sum-exp of a masked row would silently become NaN.
#if defined(__FAST_MATH__)
#error "tq relies on IEEE infinities and NaN: compile without -ffast-math / -Ofast"
#endif

#if !defined(__cpp_exceptions)
#error "tq reports invalid options and failing models by exceptions: compile with exceptions on"
#endif
