/* attention_avx512.c: attention's three parts for AVX-512: up to four queries share each load of
 * keys and values. */
#if defined(__x86_64__)
#include "kernel/simd_avx512.h"

/* Values [16 part, 16 part + 16) from `at`, which is where a block begins. */
INLINE __m512 load_part(kv_type type, const char *at, size_t part)
{
    if (type == KV_F32)
        return _mm512_loadu_ps((const float *)(const void *)at + part * LANES);
    if (type == KV_F16) {
        const __m256i *halves = (const __m256i *)(const void *)at + part;
        return _mm512_cvtph_ps(_mm256_loadu_si256(halves));
    }
    const kv_q8_0 *block = (const kv_q8_0 *)(const void *)at + part / 2;
    const __m128i *q = (const __m128i *)(const void *)(block->q + part % 2 * LANES);
    __m512 scale = _mm512_cvtph_ps(_mm256_set1_epi16((int16_t)block->d));
    return _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(q))));
}

/* Eight values, and eight zeros. Not for blocks. */
INLINE __m512 load_eight(kv_type type, const char *at)
{
    if (type == KV_F32)
        return _mm512_maskz_loadu_ps(0xff, at);
    __m128i eight = _mm_loadu_si128((const __m128i *)(const void *)at);
    return _mm512_zextps256_ps512(_mm256_cvtph_ps(eight));
}

/* Registers to a step: a whole block. */
INLINE size_t step_parts(kv_type type)
{
    return type == KV_Q8_0 ? KV_BLOCK / LANES : 1;
}

/* Asks for what the next block of positions has in this place. Past the cache's end it does
 * nothing; hence the sum as an integer. */
INLINE void prefetch_next(const char *at, size_t ahead)
{
    _mm_prefetch((const char *)((uintptr_t)at + ahead), _MM_HINT_T0);
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
 * the last one, and what they give is not used. `ahead`: bytes to what is prefetched; 0: nothing.
 */
INLINE void score_tile(kv_type type, const float *q, size_t queries, const char *k, size_t first,
                       size_t n, size_t head_dim, size_t ahead, float *s)
{
    size_t positions = LANES / queries, step = step_parts(type);
    __m512 sums[LANES];
    const char *row[LANES];
    UNROLL for (size_t i = 0; i < LANES; i++) sums[i] = _mm512_setzero_ps();
    UNROLL for (size_t p = 0; p < positions; p++) row[p] =
        k + (first + p < n ? first + p : n - 1) * kv_bytes(type, head_dim);
    for (size_t d = 0; d < head_dim; d += step * LANES) {
        bool whole = d + LANES <= head_dim;
        __m512 query[4][2];
        UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < step; j++)
            query[i][j] = whole ? _mm512_loadu_ps(q + i * head_dim + d + j * LANES)
                                : _mm512_maskz_loadu_ps(0xff, q + i * head_dim + d);
        UNROLL for (size_t p = 0; p < positions; p++)
        {
            const char *at = row[p] + kv_bytes(type, d);
            if (ahead != 0)
                prefetch_next(at, ahead);
            UNROLL for (size_t j = 0; j < step; j++)
            {
                __m512 key = whole ? load_part(type, at, j) : load_eight(type, at);
                UNROLL for (size_t i = 0; i < queries; i++)
                {
                    size_t lane = i * positions + p; /* where sum_sixteen shall put it */
                    __m512 *sum = &sums[lane % 4 * 4 + lane / 4];
                    *sum = _mm512_fmadd_ps(query[i][j], key, *sum);
                }
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

/* Only the first queries that pass over the keys prefetch. */
INLINE void score_queries(kv_type type, const float *q, size_t n_queries, const char *k, size_t n,
                          size_t head_dim, float *s)
{
    size_t i = 0, ahead = n * kv_bytes(type, head_dim);
    for (; i + 4 <= n_queries; i += 4, ahead = 0)
        for (size_t p = 0; p < n; p += LANES / 4)
            score_tile(type, q + i * head_dim, 4, k, p, n, head_dim, ahead,
                       s + i * ATTENTION_BLOCK);
    if (i + 2 <= n_queries) {
        for (size_t p = 0; p < n; p += LANES / 2)
            score_tile(type, q + i * head_dim, 2, k, p, n, head_dim, ahead,
                       s + i * ATTENTION_BLOCK);
        i += 2;
        ahead = 0;
    }
    if (i < n_queries)
        for (size_t p = 0; p < n; p += LANES)
            score_tile(type, q + i * head_dim, 1, k, p, n, head_dim, ahead,
                       s + i * ATTENTION_BLOCK);
}

void avx512_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                   size_t head_dim, float *s)
{
    if (type == KV_F16)
        score_queries(KV_F16, q, n_queries, k, n, head_dim, s);
    else if (type == KV_Q8_0)
        score_queries(KV_Q8_0, q, n_queries, k, n, head_dim, s);
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
                            size_t queries, const char *v, size_t n, size_t head_dim, size_t d,
                            size_t parts, bool eight, size_t ahead)
{
    __mmask16 mask = eight ? 0xff : 0xffff;
    __m512 sums[4][8];
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        sums[i][j] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, out + i * head_dim + d + j * LANES),
                                   _mm512_set1_ps(rescale[i]));
    const char *at = v + kv_bytes(type, d);
    for (size_t p = 0; p < n; p++, at += kv_bytes(type, head_dim)) {
        __m512 value[8];
        UNROLL for (size_t j = 0; j < parts; j++)
        {
            if (ahead != 0 && j % step_parts(type) == 0)
                prefetch_next(at + kv_bytes(type, j * LANES), ahead);
            value[j] = eight ? load_eight(type, at) : load_part(type, at, j);
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
                               size_t queries, const char *v, size_t n, size_t head_dim,
                               size_t ahead)
{
    size_t d = 0, wide = queries == 1 ? 8 : 4; /* enough chains to hide the latency */
    size_t step = step_parts(type);
    for (; d + wide * LANES <= head_dim; d += wide * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, wide, false, ahead);
    for (; d + step * LANES <= head_dim; d += step * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, step, false, ahead);
    if (d < head_dim)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 1, true, ahead);
}

INLINE void accumulate_type(kv_type type, float *out, const float *rescale, const float *s,
                            size_t n_queries, const char *v, size_t n, size_t head_dim)
{
    size_t i = 0, ahead = n * kv_bytes(type, head_dim);
    for (; i + 4 <= n_queries; i += 4, ahead = 0)
        accumulate_queries(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 4, v, n,
                           head_dim, ahead);
    if (i + 2 <= n_queries) {
        accumulate_queries(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 2, v, n,
                           head_dim, ahead);
        i += 2;
        ahead = 0;
    }
    if (i < n_queries)
        accumulate_queries(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 1, v, n,
                           head_dim, ahead);
}

void avx512_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                       size_t n_queries, const void *v, size_t n, size_t head_dim)
{
    if (type == KV_F16)
        accumulate_type(KV_F16, out, rescale, s, n_queries, v, n, head_dim);
    else if (type == KV_Q8_0)
        accumulate_type(KV_Q8_0, out, rescale, s, n_queries, v, n, head_dim);
    else
        accumulate_type(KV_F32, out, rescale, s, n_queries, v, n, head_dim);
}
#endif
