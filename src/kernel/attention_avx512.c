/* attention_avx512.c: attention's parts for AVX-512: up to seven queries share each load of keys
 * and values. */
#if defined(__x86_64__)
#include "kernel/attention_entry.h"
#include "kernel/simd_avx512.h"

/* So many queries, or their weights, stay in registers beside the sums. */
enum { FEW_QUERIES = 4 };

/* The same address, but what is loaded from it is not kept in registers that are not there. */
INLINE const float *read_again(const float *at, size_t queries)
{
    if (queries > FEW_QUERIES)
        __asm__("" : "+r"(at));
    return at;
}

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

/* ---- expanding ------------------------------------------------------------------------------ */

INLINE void expand_type(kv_type type, float *dst, const char *src, size_t n, ptrdiff_t ahead)
{
    size_t step = step_parts(type), i = 0;
    for (; i + step * LANES <= n; i += step * LANES) {
        const char *at = src + kv_bytes(type, i);
        prefetch_beside(at, ahead);
        UNROLL for (size_t j = 0; j < step; j++)
            _mm512_storeu_ps(dst + i + j * LANES, load_part(type, at, j));
    }
    if (i < n)
        _mm512_mask_storeu_ps(dst + i, 0xff, load_eight(type, src + kv_bytes(type, i)));
}

/* Sixteen nibbles of each half of a block: values [16 i, 16 i + 16) and [32 + 16 i, …). */
INLINE void load_nibbles(const uint8_t *q, size_t i, __m512 *low, __m512 *high)
{
    const __m128i *at = (const __m128i *)(const void *)(q + i * LANES);
    __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128(at));
    *low = _mm512_cvtepi32_ps(_mm512_and_si512(both, _mm512_set1_epi32(15)));
    *high = _mm512_cvtepi32_ps(_mm512_srli_epi32(both, 4));
}

INLINE void expand_q4(float *dst, const char *src, size_t n, ptrdiff_t ahead)
{
    const kv_q4 *block = (const kv_q4 *)(const void *)src;
    for (size_t i = 0; i < n; i += KV_Q4_BLOCK, block++) {
        prefetch_beside((const char *)block, ahead);
        __m512 d = _mm512_cvtph_ps(_mm256_set1_epi16((int16_t)block->d));
        __m512 m = _mm512_cvtph_ps(_mm256_set1_epi16((int16_t)block->m));
        UNROLL for (size_t j = 0; j < 2; j++)
        {
            __m512 low, high;
            load_nibbles(block->q, j, &low, &high);
            _mm512_storeu_ps(dst + i + j * LANES, _mm512_fmadd_ps(d, low, m));
            _mm512_storeu_ps(dst + i + (j + 2) * LANES, _mm512_fmadd_ps(d, high, m));
        }
    }
}

INLINE __m512 load_halves(const uint16_t *halves)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)halves));
}

/* A block of channels at a time, whose scales stay in registers. */
INLINE void expand_group(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                         ptrdiff_t ahead)
{
    kv_q4_group g = kv_q4_group_at(group, head_dim);
    for (size_t c = 0; c < head_dim; c += KV_Q4_BLOCK) {
        __m512 d[4], m[4];
        UNROLL for (size_t j = 0; j < 4; j++)
        {
            d[j] = load_halves(g.d + c + j * LANES);
            m[j] = load_halves(g.m + c + j * LANES);
        }
        prefetch_beside((const char *)(g.d + c), ahead);
        prefetch_beside((const char *)(g.m + c), ahead);
        for (size_t p = begin; p < end; p++) {
            const uint8_t *q = g.q + (p * head_dim + c) / 2;
            float *row = dst + (p - begin) * head_dim + c;
            prefetch_beside((const char *)q, ahead);
            UNROLL for (size_t j = 0; j < 2; j++)
            {
                __m512 low, high;
                load_nibbles(q, j, &low, &high);
                _mm512_storeu_ps(row + j * LANES, _mm512_fmadd_ps(d[j], low, m[j]));
                _mm512_storeu_ps(row + (j + 2) * LANES, _mm512_fmadd_ps(d[j + 2], high, m[j + 2]));
            }
        }
    }
}

/* ---- scores --------------------------------------------------------------------------------- */

/* Lane 4m + j of the result, counted as lane m of 128-bit block j, is the sum of the lanes of
 * a[4m + j]; every sum is the same tree: lanes l and l + 8, then l + 4, l + 2, l + 1. A blend and a
 * shuffle put the terms beside each other, because only half of the ports shuffle. */
INLINE __m512 sum_sixteen(const __m512 a[LANES])
{
    const __m512i odd_even = _mm512_setr_epi64(2, 3, 8, 9, 6, 7, 12, 13); /* 128-bit blocks */
    __m512 halves[8], quarters[4], pairs[2];
    UNROLL for (size_t i = 0; i < 8; i++)
    {
        const __m512 *first = a + i / 2 * 4 + i % 2, *second = first + 2;
        halves[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xff00, *first, *second),
                                  _mm512_shuffle_f32x4(*first, *second, 0x4e));
    }
    UNROLL for (size_t i = 0; i < 4; i++) quarters[i] = _mm512_add_ps(
        _mm512_mask_blend_ps(0xf0f0, halves[2 * i], halves[2 * i + 1]),
        _mm512_castpd_ps(_mm512_permutex2var_pd(_mm512_castps_pd(halves[2 * i]), odd_even,
                                                _mm512_castps_pd(halves[2 * i + 1]))));
    UNROLL for (size_t i = 0; i < 2; i++) pairs[i] =
        _mm512_add_ps(_mm512_mask_blend_ps(0xcccc, quarters[2 * i], quarters[2 * i + 1]),
                      _mm512_shuffle_ps(quarters[2 * i], quarters[2 * i + 1], 0x4e));
    return _mm512_add_ps(_mm512_shuffle_ps(pairs[0], pairs[1], 0x88),
                         _mm512_shuffle_ps(pairs[0], pairs[1], 0xdd));
}

INLINE size_t score_positions(size_t queries)
{
    return queries >= 3 ? LANES / 4 : LANES / queries;
}

/* Of one position, `step` registers of a key against `queries` of as many. */
INLINE void score_key(kv_type type, const float *q, size_t queries, const char *at, size_t head_dim,
                      bool whole, size_t position, __m512 sums[2][LANES])
{
    size_t step = step_parts(type), positions = score_positions(queries);
    UNROLL for (size_t j = 0; j < step; j++)
    {
        __m512 key = whole ? load_part(type, at, j) : load_eight(type, at);
        UNROLL for (size_t i = 0; i < queries; i++)
        {
            const float *from = q + i * head_dim + j * LANES;
            __m512 query = whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(0xff, from);
            size_t lane = i * positions + position; /* where sum_sixteen shall put it */
            __m512 *sum = &sums[lane / LANES][lane % 4 * 4 + lane % LANES / 4];
            *sum = _mm512_fmadd_ps(query, key, *sum);
        }
    }
}

/* Queries [4 half, 4 half + 4) of three and more. */
INLINE void store_fours(float *s, size_t queries, size_t half, __m512 scores)
{
    size_t first = half * 4;
    _mm_storeu_ps(s + first * ATTENTION_BLOCK, _mm512_castps512_ps128(scores));
    if (queries > first + 1)
        _mm_storeu_ps(s + (first + 1) * ATTENTION_BLOCK, _mm512_extractf32x4_ps(scores, 1));
    if (queries > first + 2)
        _mm_storeu_ps(s + (first + 2) * ATTENTION_BLOCK, _mm512_extractf32x4_ps(scores, 2));
    if (queries > first + 3)
        _mm_storeu_ps(s + (first + 3) * ATTENTION_BLOCK, _mm512_extractf32x4_ps(scores, 3));
}

/* `queries` (1 to 7) against some positions from `first`: sixteen sums at most for each four of
 * them; positions past n − 1 repeat the last one, and what they give is not used. */
INLINE void score_tile(kv_type type, const float *q, size_t queries, const char *k, size_t first,
                       size_t n, size_t head_dim, ptrdiff_t ahead, bool ask, float *s)
{
    size_t positions = score_positions(queries), step = step_parts(type);
    __m512 sums[2][LANES];
    const char *row[LANES];
    UNROLL for (size_t i = 0; i < LANES; i++) sums[0][i] = sums[1][i] = _mm512_setzero_ps();
    UNROLL for (size_t p = 0; p < positions; p++) row[p] =
        k + (first + p < n ? first + p : n - 1) * kv_bytes(type, head_dim);
    for (size_t d = 0; d < head_dim; d += step * LANES) {
        bool whole = d + LANES <= head_dim;
        UNROLL for (size_t p = 0; p < positions; p++)
        {
            const char *at = row[p] + kv_bytes(type, d);
            if (ask)
                prefetch_beside(at, ahead);
            score_key(type, read_again(q + d, queries), queries, at, head_dim, whole, p, sums);
        }
    }
    __m512 scores = sum_sixteen(sums[0]);
    if (queries == 1) {
        _mm512_storeu_ps(s + first, scores);
    } else if (queries == 2) {
        _mm256_storeu_ps(s + first, _mm512_castps512_ps256(scores));
        _mm256_storeu_ps(s + ATTENTION_BLOCK + first, _mm512_extractf32x8_ps(scores, 1));
    } else {
        store_fours(s + first, queries, 0, scores);
        if (queries > 4)
            store_fours(s + first, queries, 1, sum_sixteen(sums[1]));
    }
}

INLINE void score_pass(kv_type type, const float *q, size_t queries, const char *k, size_t n,
                       size_t head_dim, ptrdiff_t ahead, bool ask, float *s)
{
    for (size_t p = 0; p < n; p += score_positions(queries))
        score_tile(type, q, queries, k, p, n, head_dim, ahead, ask, s);
}

/* Only the first queries that pass over the keys prefetch. */
INLINE void score_queries(kv_type type, const float *q, size_t n_queries, const char *k, size_t n,
                          size_t head_dim, ptrdiff_t ahead, float *s)
{
    bool asked = false;
    for (; n_queries >= PASS_QUERIES; n_queries -= PASS_QUERIES, asked = true) {
        if (asked)
            score_pass(type, q, PASS_QUERIES, k, n, head_dim, 0, false, s);
        else
            score_pass(type, q, PASS_QUERIES, k, n, head_dim, ahead, true, s);
        q += PASS_QUERIES * head_dim;
        s += PASS_QUERIES * ATTENTION_BLOCK;
    }
    ahead = asked ? 0 : ahead;
#define PASS(queries) score_pass(type, q, queries, k, n, head_dim, ahead, true, s)
    WITH_CONSTANT(n_queries, PASS_QUERIES - 1, PASS)
#undef PASS
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
                            size_t parts, bool eight, ptrdiff_t ahead, bool ask)
{
    __mmask16 mask = eight ? 0xff : 0xffff;
    __m512 sums[PASS_QUERIES][8];
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        sums[i][j] = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, out + i * head_dim + d + j * LANES),
                                   _mm512_set1_ps(rescale[i]));
    const char *at = v + kv_bytes(type, d);
    for (size_t p = 0; p < n; p++, at += kv_bytes(type, head_dim)) {
        UNROLL for (size_t j = 0; j < parts; j++)
        {
            if (ask && j % step_parts(type) == 0)
                prefetch_beside(at + kv_bytes(type, j * LANES), ahead);
            __m512 value = eight ? load_eight(type, at) : load_part(type, at, j);
            const float *weights = read_again(s + p, queries);
            UNROLL for (size_t i = 0; i < queries; i++)
            {
                __m512 weight = _mm512_set1_ps(weights[i * ATTENTION_BLOCK]);
                sums[i][j] = _mm512_fmadd_ps(weight, value, sums[i][j]);
            }
        }
    }
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        _mm512_mask_storeu_ps(out + i * head_dim + d + j * LANES, mask, sums[i][j]);
}

INLINE void accumulate_pass(kv_type type, float *out, const float *rescale, const float *s,
                            size_t queries, const char *v, size_t n, size_t head_dim,
                            ptrdiff_t ahead, bool ask)
{
    size_t d = 0, step = step_parts(type);
    if (queries <= 2)
        for (; d + 8 * LANES <= head_dim; d += 8 * LANES)
            accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 8, false, ahead,
                            ask);
    for (; d + 4 * LANES <= head_dim; d += 4 * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 4, false, ahead, ask);
    for (; d + step * LANES <= head_dim; d += step * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, step, false, ahead, ask);
    if (d < head_dim)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 1, true, ahead, ask);
}

/* Only the first queries that pass over the values prefetch. */
INLINE void accumulate_queries(kv_type type, float *out, const float *rescale, const float *s,
                               size_t n_queries, const char *v, size_t n, size_t head_dim,
                               ptrdiff_t ahead)
{
    bool asked = false;
    for (; n_queries >= PASS_QUERIES; n_queries -= PASS_QUERIES, asked = true) {
        if (asked)
            accumulate_pass(type, out, rescale, s, PASS_QUERIES, v, n, head_dim, 0, false);
        else
            accumulate_pass(type, out, rescale, s, PASS_QUERIES, v, n, head_dim, ahead, true);
        out += PASS_QUERIES * head_dim;
        rescale += PASS_QUERIES;
        s += PASS_QUERIES * ATTENTION_BLOCK;
    }
    ahead = asked ? 0 : ahead;
#define PASS(queries) accumulate_pass(type, out, rescale, s, queries, v, n, head_dim, ahead, true)
    WITH_CONSTANT(n_queries, PASS_QUERIES - 1, PASS)
#undef PASS
}

DEFINE_ATTENTION(avx512)
#endif
