/* attention_avx512.c: attention's three parts for AVX-512: up to four queries share each load of
 * keys and values. */
#if defined(__x86_64__)
#include "kernel/simd_avx512.h"

INLINE __m512 load_values(kv_type type, const void *values, size_t index)
{
    if (type == KV_F32)
        return _mm512_loadu_ps((const float *)values + index);
    const uint16_t *halves = (const uint16_t *)values + index;
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)halves));
}

/* Eight values, and eight zeros. */
INLINE __m512 load_eight(kv_type type, const void *values, size_t index)
{
    if (type == KV_F32)
        return _mm512_maskz_loadu_ps(0xff, (const float *)values + index);
    const uint16_t *halves = (const uint16_t *)values + index;
    __m128i eight = _mm_loadu_si128((const __m128i *)(const void *)halves);
    return _mm512_zextps256_ps512(_mm256_cvtph_ps(eight));
}

/* ---- scores --------------------------------------------------------------------------------- */

/* Lane 4m + j of the result, counted as lane m of 128-bit block j, is the sum of the lanes of
 * a[4m + j]; every sum is the same tree: lanes l and l + 8, then l + 4, l + 2, l + 1. */
INLINE __m512 sum_sixteen(const __m512 a[LANES])
{
    __m512 halves[8], quarters[4], pairs[2];
    UNROLL for (size_t i = 0; i < 8; i++) halves[i] =
        _mm512_add_ps(_mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0x44),
                      _mm512_shuffle_f32x4(a[2 * i], a[2 * i + 1], 0xee));
    UNROLL for (size_t i = 0; i < 4; i++) quarters[i] =
        _mm512_add_ps(_mm512_shuffle_f32x4(halves[2 * i], halves[2 * i + 1], 0x88),
                      _mm512_shuffle_f32x4(halves[2 * i], halves[2 * i + 1], 0xdd));
    UNROLL for (size_t i = 0; i < 2; i++) pairs[i] =
        _mm512_add_ps(_mm512_shuffle_ps(quarters[2 * i], quarters[2 * i + 1], 0x44),
                      _mm512_shuffle_ps(quarters[2 * i], quarters[2 * i + 1], 0xee));
    return _mm512_add_ps(_mm512_shuffle_ps(pairs[0], pairs[1], 0x88),
                         _mm512_shuffle_ps(pairs[0], pairs[1], 0xdd));
}

/* `queries` (1, 2 or 4) against 16 / queries positions from `first`; positions past n − 1 repeat
 * the last one, and what they give is not used. */
INLINE void score_tile(kv_type type, const float *q, size_t queries, const void *k, size_t first,
                       size_t n, size_t head_dim, float *s)
{
    size_t positions = LANES / queries;
    __m512 sums[LANES];
    size_t at[LANES];
    UNROLL for (size_t i = 0; i < LANES; i++) sums[i] = _mm512_setzero_ps();
    UNROLL for (size_t p = 0; p < positions; p++) at[p] =
        (first + p < n ? first + p : n - 1) * head_dim;
    for (size_t d = 0; d < head_dim; d += LANES) {
        bool whole = d + LANES <= head_dim;
        __m512 query[4];
        UNROLL for (size_t i = 0; i < queries; i++) query[i] =
            whole ? _mm512_loadu_ps(q + i * head_dim + d)
                  : _mm512_maskz_loadu_ps(0xff, q + i * head_dim + d);
        UNROLL for (size_t p = 0; p < positions; p++)
        {
            __m512 key = whole ? load_values(type, k, at[p] + d) : load_eight(type, k, at[p] + d);
            UNROLL for (size_t i = 0; i < queries; i++)
            {
                size_t lane = i * positions + p; /* where sum_sixteen shall put it */
                __m512 *sum = &sums[lane % 4 * 4 + lane / 4];
                *sum = _mm512_fmadd_ps(query[i], key, *sum);
            }
        }
    }
    __m512 scores = sum_sixteen(sums);
    if (queries == 1) {
        _mm512_storeu_ps(s + first, scores);
    } else if (queries == 2) {
        _mm256_storeu_ps(s + first, _mm512_castps512_ps256(scores));
        _mm256_storeu_ps(s + ATTENTION_BLOCK + first, _mm512_extractf32x8_ps(scores, 1));
    } else {
        _mm_storeu_ps(s + first, _mm512_castps512_ps128(scores));
        _mm_storeu_ps(s + ATTENTION_BLOCK + first, _mm512_extractf32x4_ps(scores, 1));
        _mm_storeu_ps(s + 2 * ATTENTION_BLOCK + first, _mm512_extractf32x4_ps(scores, 2));
        _mm_storeu_ps(s + 3 * ATTENTION_BLOCK + first, _mm512_extractf32x4_ps(scores, 3));
    }
}

INLINE void score_queries(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                          size_t head_dim, float *s)
{
    size_t i = 0;
    for (; i + 4 <= n_queries; i += 4)
        for (size_t p = 0; p < n; p += LANES / 4)
            score_tile(type, q + i * head_dim, 4, k, p, n, head_dim, s + i * ATTENTION_BLOCK);
    if (i + 2 <= n_queries) {
        for (size_t p = 0; p < n; p += LANES / 2)
            score_tile(type, q + i * head_dim, 2, k, p, n, head_dim, s + i * ATTENTION_BLOCK);
        i += 2;
    }
    if (i < n_queries)
        for (size_t p = 0; p < n; p += LANES)
            score_tile(type, q + i * head_dim, 1, k, p, n, head_dim, s + i * ATTENTION_BLOCK);
}

void avx512_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                   size_t head_dim, float *s)
{
    if (type == KV_F16)
        score_queries(KV_F16, q, n_queries, k, n, head_dim, s);
    else
        score_queries(KV_F32, q, n_queries, k, n, head_dim, s);
}

/* ---- softmax -------------------------------------------------------------------------------- */

float avx512_softmax(float *s, size_t n, float *max, float *sum)
{
    enum { PARTS = ATTENTION_BLOCK / LANES };
    __m512 part[PARTS], lowest = _mm512_set1_ps(-INFINITY), largest = lowest;
    UNROLL for (size_t i = 0; i < PARTS; i++)
    {
        size_t left = n > i * LANES ? n - i * LANES : 0;
        __mmask16 seen = left < LANES ? first_lanes(left) : 0xffff;
        part[i] = _mm512_mask_loadu_ps(lowest, seen, s + i * LANES);
        largest = _mm512_max_ps(largest, part[i]);
    }
    float new_max = _mm512_reduce_max_ps(largest);
    new_max = *max > new_max ? *max : new_max;
    float rescale = _mm512_cvtss_f32(exponential(_mm512_set1_ps(*max - new_max)));
    UNROLL for (size_t i = 0; i < PARTS; i++)
    {
        part[i] = exponential(_mm512_sub_ps(part[i], _mm512_set1_ps(new_max)));
        _mm512_storeu_ps(s + i * LANES, part[i]);
    }
    float block =
        sum_lanes(_mm512_add_ps(_mm512_add_ps(part[0], part[1]), _mm512_add_ps(part[2], part[3])));
    *sum = fmaf(*sum, rescale, block);
    *max = new_max;
    return rescale;
}

/* ---- values --------------------------------------------------------------------------------- */

/* `parts` registers of head dimensions from d on, for `queries` queries. */
INLINE void accumulate_tile(kv_type type, float *out, const float *rescale, const float *s,
                            size_t queries, const void *v, size_t n, size_t head_dim, size_t d,
                            size_t parts, bool eight)
{
    __mmask16 mask = eight ? 0xff : 0xffff;
    __m512 sums[4][8];
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        sums[i][j] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, out + i * head_dim + d + j * LANES),
                                   _mm512_set1_ps(rescale[i]));
    for (size_t p = 0; p < n; p++) {
        __m512 value[8];
        UNROLL for (size_t j = 0; j < parts; j++)
        {
            size_t index = p * head_dim + d + j * LANES;
            value[j] = eight ? load_eight(type, v, index) : load_values(type, v, index);
        }
        UNROLL for (size_t i = 0; i < queries; i++)
        {
            __m512 weight = _mm512_set1_ps(s[i * ATTENTION_BLOCK + p]);
            UNROLL for (size_t j = 0; j < parts; j++) sums[i][j] =
                _mm512_fmadd_ps(weight, value[j], sums[i][j]);
        }
    }
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        _mm512_mask_storeu_ps(out + i * head_dim + d + j * LANES, mask, sums[i][j]);
}

INLINE void accumulate_queries(kv_type type, float *out, const float *rescale, const float *s,
                               size_t queries, const void *v, size_t n, size_t head_dim)
{
    size_t d = 0, wide = queries == 1 ? 8 : 4; /* enough chains to hide the latency */
    for (; d + wide * LANES <= head_dim; d += wide * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, wide, false);
    for (; d + LANES <= head_dim; d += LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 1, false);
    if (d < head_dim)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 1, true);
}

INLINE void accumulate_type(kv_type type, float *out, const float *rescale, const float *s,
                            size_t n_queries, const void *v, size_t n, size_t head_dim)
{
    size_t i = 0;
    for (; i + 4 <= n_queries; i += 4)
        accumulate_queries(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 4, v, n,
                           head_dim);
    if (i + 2 <= n_queries) {
        accumulate_queries(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 2, v, n,
                           head_dim);
        i += 2;
    }
    if (i < n_queries)
        accumulate_queries(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 1, v, n,
                           head_dim);
}

void avx512_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                       size_t n_queries, const void *v, size_t n, size_t head_dim)
{
    if (type == KV_F16)
        accumulate_type(KV_F16, out, rescale, s, n_queries, v, n, head_dim);
    else
        accumulate_type(KV_F32, out, rescale, s, n_queries, v, n, head_dim);
}
#endif
