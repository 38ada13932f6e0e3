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

/* As exponential.h says. */
INLINE __m256 exponential(__m256 x)
{
    __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(EXP_LOWEST), _CMP_GE_OQ);
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(EXP_LOWEST)), _mm256_set1_ps(EXP_HIGHEST));
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(EXP_LOG2_E)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN_2_HIGH), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN_2_LOW), r);
    __m256 p = _mm256_set1_ps(EXP_C7);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_C2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1));
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
    return _mm256_and_ps(above, _mm256_mul_ps(p, power));
}

/* Sixteen partial sums, by the tree of attention_reference.c: four of eight, not yet added up. */
INLINE __m128 sum_to_four(__m256 low, __m256 high)
{
    __m256 eight = _mm256_add_ps(low, high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

void avx2_expand(kv_type type, float *dst, const void *src, size_t n, const void *next);
void avx2_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                 size_t head_dim, const void *next, float *s);
float avx2_softmax(float *s, size_t n, float *max, float *sum);
void avx2_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                     size_t n_queries, const void *v, size_t n, size_t head_dim, const void *next);

#endif
