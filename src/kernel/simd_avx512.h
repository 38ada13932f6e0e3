/* simd_avx512.h: what attention and the vector operations share in AVX-512. Included only by the
 * files *_avx512.c. */
#ifndef KERNEL_SIMD_AVX512_H
#define KERNEL_SIMD_AVX512_H

#include "kernel/internal.h"

#include <immintrin.h>
#include <math.h>

#include "kernel/exponential.h"
#include "kernel/inline.h"

/* Queries that take keys and values together: beside four positions, or four registers of values,
 * their sums are 28 of 32 registers. */
enum { LANES = 16, PASS_QUERIES = 7 };

/* The first n < 16 of sixteen. */
INLINE __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

/* exp(x) = power · (1 + r · slope), as exponential.h says; x from EXP_LOWEST to EXP_HIGHEST. */
typedef struct exp_parts {
    __m512 r, slope, power;
} exp_parts;

INLINE exp_parts exp_parts_of(__m512 x)
{
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(EXP_LOG2_E)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    exp_parts e = {.r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN_2_HIGH), x),
                   .slope = _mm512_set1_ps(EXP_C7)};
    e.r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN_2_LOW), e.r);
    e.slope = _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(EXP_C6));
    e.slope = _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(EXP_C5));
    e.slope = _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(EXP_C4));
    e.slope = _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(EXP_C3));
    e.slope = _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(EXP_C2));
    e.slope = _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(1));
    __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    e.power = _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
    return e;
}

INLINE __m512 exponential(__m512 x)
{
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_LOWEST), _CMP_GE_OQ);
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(EXP_LOWEST)), _mm512_set1_ps(EXP_HIGHEST));
    exp_parts e = exp_parts_of(x);
    return _mm512_maskz_mul_ps(above, _mm512_fmadd_ps(e.slope, e.r, _mm512_set1_ps(1)), e.power);
}

/* tanh, as exponential.h says. The maximum gives its second argument for a NaN. */
INLINE __m512 hyperbolic_tangent(__m512 x)
{
    __m512 sign = _mm512_set1_ps(-0.0f), magnitude = _mm512_andnot_ps(sign, x);
    __m512 twice = _mm512_mul_ps(magnitude, _mm512_set1_ps(-2));
    exp_parts e = exp_parts_of(_mm512_max_ps(_mm512_set1_ps(EXP_LOWEST), twice));
    __m512 less_one = _mm512_fmadd_ps(_mm512_mul_ps(e.r, e.slope), e.power,
                                      _mm512_sub_ps(e.power, _mm512_set1_ps(1)));
    __m512 value = _mm512_div_ps(less_one, _mm512_add_ps(_mm512_set1_ps(2), less_one));
    return _mm512_or_ps(_mm512_andnot_ps(sign, value), _mm512_and_ps(sign, x));
}

/* The tree of attention_reference.c. */
INLINE float sum_lanes(__m512 a)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

void avx512_expand(kv_type type, float *dst, const void *src, size_t n, const void *next);
void avx512_expand_keys(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                        const void *next);
void avx512_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                   size_t head_dim, const void *next, float *s);
float avx512_softmax(float *s, size_t n, float *max, float *sum);
void avx512_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                       size_t n_queries, const void *v, size_t n, size_t head_dim,
                       const void *next);

#endif
