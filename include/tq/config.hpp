#pragma once
// What every header may assume of the compiler.

#include "version.hpp"

#if defined(__cplusplus) && __cplusplus < 202002L
#error "tq needs C++20: compile with -std=c++20 or later"
#endif

// Masked logits are -inf, and -ffast-math lets the compiler assume there is no infinity: every
// log-sum-exp of a masked row would silently become NaN.
#if defined(__FAST_MATH__)
#error "tq relies on IEEE infinities and NaN: compile without -ffast-math / -Ofast"
#endif

#if !defined(__cpp_exceptions)
#error "tq reports invalid options and failing models by exceptions: compile with exceptions on"
#endif
