/* simd_avx2.h: what attention and the vector operations share in AVX2. Included only by the files
 * *_avx2.c. */
#ifndef KERNEL_SIMD_AVX2_H
#define KERNEL_SIMD_AVX2_H

#include "kernel/internal.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernel/exponential.h"
#include "kernel/inline.h"

enum { LANES = 8 };

/* exp(x) = power · (1 + r · slope), as exponential.h says; x from EXP_LOWEST to EXP_HIGHEST. */
typedef struct exp_parts {
    __m256 r, slope, power;
} exp_parts;

INLINE exp_parts exp_parts_of(__m256 x)
{
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(EXP_LOG2_E)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    exp_parts e = {.r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN_2_HIGH), x),
                   .slope = _mm256_set1_ps(EXP_C7)};
    e.r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN_2_LOW), e.r);
    e.slope = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(EXP_C6));
    e.slope = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(EXP_C5));
    e.slope = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(EXP_C4));
    e.slope = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(EXP_C3));
    e.slope = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(EXP_C2));
    e.slope = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(1));
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    e.power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    return e;
}

INLINE __m256 exponential(__m256 x)
{
    __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(EXP_LOWEST), _CMP_GE_OQ);
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(EXP_LOWEST)), _mm256_set1_ps(EXP_HIGHEST));
    exp_parts e = exp_parts_of(x);
    __m256 p = _mm256_fmadd_ps(e.slope, e.r, _mm256_set1_ps(1));
    return _mm256_and_ps(above, _mm256_mul_ps(p, e.power));
}

/* tanh, as exponential.h says. The maximum gives its second argument for a NaN. */
INLINE __m256 hyperbolic_tangent(__m256 x)
{
    __m256 sign = _mm256_set1_ps(-0.0f), magnitude = _mm256_andnot_ps(sign, x);
    __m256 twice = _mm256_mul_ps(magnitude, _mm256_set1_ps(-2));
    exp_parts e = exp_parts_of(_mm256_max_ps(_mm256_set1_ps(EXP_LOWEST), twice));
    __m256 less_one = _mm256_fmadd_ps(_mm256_mul_ps(e.r, e.slope), e.power,
                                      _mm256_sub_ps(e.power, _mm256_set1_ps(1)));
    __m256 value = _mm256_div_ps(less_one, _mm256_add_ps(_mm256_set1_ps(2), less_one));
    return _mm256_or_ps(_mm256_andnot_ps(sign, value), _mm256_and_ps(sign, x));
}

/* Sixteen partial sums, by the tree of attention_reference.c: four of eight, not yet added up. */
INLINE __m128 sum_to_four(__m256 low, __m256 high)
{
    __m256 eight = _mm256_add_ps(low, high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

void avx2_expand(kv_type type, float *dst, const void *src, size_t n, const void *next);
void avx2_expand_keys(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                      const void *next);
void avx2_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                 size_t head_dim, const void *next, float *s);
float avx2_softmax(float *s, size_t n, float *max, float *sum);
void avx2_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                     size_t n_queries, const void *v, size_t n, size_t head_dim, const void *next);

#endif
