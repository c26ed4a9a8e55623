#pragma once
// The instructions of AVX2 and AVX-512 that vector extensions have no word for.
//
// <immintrin.h> has them all, and costs g++ nearly as long as Eigen/Core. g++ 12 is therefore given
// the built-in functions that its own header is written with. They are no stable interface, so
// every other compiler, and a version that has not been tried, includes the header.

#if !defined(__x86_64__)
#elif defined(__GNUC__) && !defined(__clang__) && __GNUC__ == 12

#define TQSTAR_SIGNS_4(v) __builtin_ia32_movmskps(v)
#define TQSTAR_SIGNS_8(v) __builtin_ia32_movmskps256(v)
#define TQSTAR_FUSED_8(a, b, c) __builtin_ia32_vfmaddps256(a, b, c)
#define TQSTAR_FUSED_16(a, b, c) __builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4)
#define TQSTAR_GREATER_16(a, b) __builtin_ia32_cmpps512_mask(a, b, 30, -1, 4)
#define TQSTAR_FRACTION_16(v) __builtin_ia32_reduceps512_mask_round(v, 1, decltype(v){}, -1, 4)
#define TQSTAR_SCALED_16(v, z) __builtin_ia32_scalefps512_mask(v, z, decltype(v){}, -1, 4)
#define TQSTAR_WIDENED_16(v, zero) __builtin_ia32_cvtps2pd512_mask(v, zero, -1, 4)

#else

#include <immintrin.h>

// The forms with a mask where those without start from an undefined register, of which g++ warns.
#define TQSTAR_SIGNS_4(v) _mm_movemask_ps(v)
#define TQSTAR_SIGNS_8(v) _mm256_movemask_ps(v)
#define TQSTAR_FUSED_8(a, b, c) _mm256_fmadd_ps(a, b, c)
#define TQSTAR_FUSED_16(a, b, c) _mm512_fmadd_ps(a, b, c)
#define TQSTAR_GREATER_16(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define TQSTAR_FRACTION_16(v) _mm512_maskz_reduce_ps(0xFFFF, v, 1)
#define TQSTAR_SCALED_16(v, z) _mm512_maskz_scalef_ps(0xFFFF, v, z)
#define TQSTAR_WIDENED_16(v, zero) _mm512_maskz_cvtps_pd(0xFF, v)

#endif
