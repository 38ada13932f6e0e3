/* attention_avx2.c: attention's parts for AVX2. Two registers are the sixteen partial sums of
 * a dot product. */
#if defined(__x86_64__)
#include "kernel/attention_entry.h"
#include "kernel/simd_avx2.h"

/* Values [8 part, 8 part + 8) from `at`, which is where a block begins. */
INLINE __m256 load_part(kv_type type, const char *at, size_t part)
{
    if (type == KV_F32)
        return _mm256_loadu_ps((const float *)(const void *)at + part * LANES);
    if (type == KV_F16) {
        const __m128i *halves = (const __m128i *)(const void *)at + part;
        return _mm256_cvtph_ps(_mm_loadu_si128(halves));
    }
    const kv_q8_0 *block = (const kv_q8_0 *)(const void *)at + part / 4;
    __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(block->q + part % 4 * LANES));
    __m256 scale = _mm256_cvtph_ps(_mm_set1_epi16((int16_t)block->d));
    return _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)));
}

/* Registers to a step: sixteen lanes, or a whole block. */
INLINE size_t step_parts(kv_type type)
{
    return type == KV_Q8_0 ? KV_BLOCK / LANES : 2;
}

/* ---- expanding ------------------------------------------------------------------------------ */

INLINE void expand_type(kv_type type, float *dst, const char *src, size_t n, ptrdiff_t ahead)
{
    size_t step = type == KV_Q8_0 ? step_parts(type) : 1;
    for (size_t i = 0; i < n; i += step * LANES) {
        const char *at = src + kv_bytes(type, i);
        prefetch_beside(at, ahead);
        UNROLL for (size_t j = 0; j < step; j++)
            _mm256_storeu_ps(dst + i + j * LANES, load_part(type, at, j));
    }
}

/* Eight nibbles of each half of a block: values [8 i, 8 i + 8) and [32 + 8 i, …). */
INLINE void load_nibbles(const uint8_t *q, size_t i, __m256 *low, __m256 *high)
{
    const __m128i *at = (const __m128i *)(const void *)(q + i * LANES);
    __m256i both = _mm256_cvtepu8_epi32(_mm_loadl_epi64(at));
    *low = _mm256_cvtepi32_ps(_mm256_and_si256(both, _mm256_set1_epi32(15)));
    *high = _mm256_cvtepi32_ps(_mm256_srli_epi32(both, 4));
}

INLINE void expand_q4(float *dst, const char *src, size_t n, ptrdiff_t ahead)
{
    const kv_q4 *block = (const kv_q4 *)(const void *)src;
    for (size_t i = 0; i < n; i += KV_Q4_BLOCK, block++) {
        prefetch_beside((const char *)block, ahead);
        __m256 d = _mm256_cvtph_ps(_mm_set1_epi16((int16_t)block->d));
        __m256 m = _mm256_cvtph_ps(_mm_set1_epi16((int16_t)block->m));
        UNROLL for (size_t j = 0; j < 4; j++)
        {
            __m256 low, high;
            load_nibbles(block->q, j, &low, &high);
            _mm256_storeu_ps(dst + i + j * LANES, _mm256_fmadd_ps(d, low, m));
            _mm256_storeu_ps(dst + i + (j + 4) * LANES, _mm256_fmadd_ps(d, high, m));
        }
    }
}

INLINE __m256 load_halves(const uint16_t *halves)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)halves));
}

/* Eight channels of either half at a time, whose scales stay in registers. */
INLINE void expand_channels(float *dst, const kv_q4_group *g, size_t begin, size_t end,
                            size_t head_dim, size_t c, ptrdiff_t ahead)
{
    enum { HALF = KV_Q4_BLOCK / 2 };
    size_t first = c / HALF * KV_Q4_BLOCK + c % HALF; /* the channel of the low nibbles */
    __m256 d[2] = {load_halves(g->d + first), load_halves(g->d + first + HALF)};
    __m256 m[2] = {load_halves(g->m + first), load_halves(g->m + first + HALF)};
    for (size_t p = begin; p < end; p++, dst += head_dim) {
        const uint8_t *q = g->q + p * head_dim / 2 + c;
        __m256 low, high;
        if (c == 0)
            prefetch_beside((const char *)q, ahead);
        load_nibbles(q, 0, &low, &high);
        _mm256_storeu_ps(dst + first, _mm256_fmadd_ps(d[0], low, m[0]));
        _mm256_storeu_ps(dst + first + HALF, _mm256_fmadd_ps(d[1], high, m[1]));
    }
}

INLINE void expand_group(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                         ptrdiff_t ahead)
{
    kv_q4_group g = kv_q4_group_at(group, head_dim);
    for (size_t c = 0; c < head_dim / 2; c += LANES)
        expand_channels(dst, &g, begin, end, head_dim, c, ahead);
}

/* ---- scores --------------------------------------------------------------------------------- */

/* The four sums of four times four lanes: lanes l and l + 2, then l + 1. */
INLINE __m128 sum_four(__m128 a, __m128 b, __m128 c, __m128 d)
{
    __m128 ab = _mm_add_ps(_mm_shuffle_ps(a, b, 0x44), _mm_shuffle_ps(a, b, 0xee));
    __m128 cd = _mm_add_ps(_mm_shuffle_ps(c, d, 0x44), _mm_shuffle_ps(c, d, 0xee));
    return _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
}

/* `queries` (1 or 2) against 4 / queries positions from `first`; positions past n − 1 repeat the
 * last one, and what they give is not used. */
INLINE void score_tile(kv_type type, const float *q, size_t queries, const char *k, size_t first,
                       size_t n, size_t head_dim, ptrdiff_t ahead, float *s)
{
    enum { SUMS = 4 };
    size_t positions = SUMS / queries, step = step_parts(type);
    __m256 sums[SUMS][2];
    const char *row[SUMS];
    UNROLL for (size_t i = 0; i < SUMS; i++) sums[i][0] = sums[i][1] = _mm256_setzero_ps();
    UNROLL for (size_t p = 0; p < positions; p++) row[p] =
        k + (first + p < n ? first + p : n - 1) * kv_bytes(type, head_dim);
    size_t d = 0;
    for (; d + step * LANES <= head_dim; d += step * LANES)
        UNROLL for (size_t j = 0; j < step; j++) UNROLL for (size_t p = 0; p < positions; p++)
        {
            if (j == 0)
                prefetch_beside(row[p] + kv_bytes(type, d), ahead);
            __m256 key = load_part(type, row[p] + kv_bytes(type, d), j);
            UNROLL for (size_t i = 0; i < queries; i++)
            {
                __m256 query = _mm256_loadu_ps(q + i * head_dim + d + j * LANES);
                __m256 *sum = &sums[i * positions + p][j % 2];
                *sum = _mm256_fmadd_ps(query, key, *sum);
            }
        }
    if (d < head_dim)
        UNROLL for (size_t p = 0; p < positions; p++)
        {
            __m256 key = load_part(type, row[p] + kv_bytes(type, d), 0);
            UNROLL for (size_t i = 0; i < queries; i++)
            {
                __m256 query = _mm256_loadu_ps(q + i * head_dim + d);
                __m256 *sum = &sums[i * positions + p][0];
                *sum = _mm256_fmadd_ps(query, key, *sum);
            }
        }
    __m128 scores =
        sum_four(sum_to_four(sums[0][0], sums[0][1]), sum_to_four(sums[1][0], sums[1][1]),
                 sum_to_four(sums[2][0], sums[2][1]), sum_to_four(sums[3][0], sums[3][1]));
    if (queries == 1) {
        _mm_storeu_ps(s + first, scores);
    } else {
        _mm_storel_pi((__m64 *)(void *)(s + first), scores);
        _mm_storeh_pi((__m64 *)(void *)(s + ATTENTION_BLOCK + first), scores);
    }
}

/* Only the first queries that pass over the keys ask for more. */
INLINE void score_queries(kv_type type, const float *q, size_t n_queries, const char *k, size_t n,
                          size_t head_dim, ptrdiff_t ahead, float *s)
{
    size_t i = 0;
    for (; i + 2 <= n_queries; i += 2, ahead = 0)
        for (size_t p = 0; p < n; p += 2)
            score_tile(type, q + i * head_dim, 2, k, p, n, head_dim, ahead,
                       s + i * ATTENTION_BLOCK);
    if (i < n_queries)
        for (size_t p = 0; p < n; p += 4)
            score_tile(type, q + i * head_dim, 1, k, p, n, head_dim, ahead,
                       s + i * ATTENTION_BLOCK);
}

/* ---- softmax -------------------------------------------------------------------------------- */

float avx2_softmax(float *s, size_t n, float *max, float *sum)
{
    enum { PARTS = ATTENTION_BLOCK / LANES };
    for (size_t j = n; j < ATTENTION_BLOCK; j++)
        s[j] = -INFINITY;
    __m256 largest = _mm256_set1_ps(*max);
    UNROLL for (size_t i = 0; i < PARTS; i++) largest =
        _mm256_max_ps(_mm256_loadu_ps(s + i * LANES), largest);
    float lanes[LANES], new_max = *max;
    _mm256_storeu_ps(lanes, largest);
    UNROLL for (size_t l = 0; l < LANES; l++) new_max = lanes[l] > new_max ? lanes[l] : new_max;
    float rescale = _mm256_cvtss_f32(exponential(_mm256_set1_ps(*max - new_max)));
    __m256 part[PARTS];
    UNROLL for (size_t i = 0; i < PARTS; i++)
    {
        __m256 scores = _mm256_loadu_ps(s + i * LANES);
        part[i] = exponential(_mm256_sub_ps(scores, _mm256_set1_ps(new_max)));
        _mm256_storeu_ps(s + i * LANES, part[i]);
    }
    __m256 low = _mm256_add_ps(_mm256_add_ps(part[0], part[2]), _mm256_add_ps(part[4], part[6]));
    __m256 high = _mm256_add_ps(_mm256_add_ps(part[1], part[3]), _mm256_add_ps(part[5], part[7]));
    __m128 four = sum_to_four(low, high);
    *sum = fmaf(*sum, rescale, _mm_cvtss_f32(sum_four(four, four, four, four)));
    *max = new_max;
    return rescale;
}

/* ---- values --------------------------------------------------------------------------------- */

/* `parts` registers of head dimensions from d on, for `queries` queries. */
INLINE void accumulate_tile(kv_type type, float *out, const float *rescale, const float *s,
                            size_t queries, const char *v, size_t n, size_t head_dim, size_t d,
                            size_t parts, ptrdiff_t ahead)
{
    __m256 sums[4][8];
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        sums[i][j] = _mm256_mul_ps(_mm256_loadu_ps(out + i * head_dim + d + j * LANES),
                                   _mm256_set1_ps(rescale[i]));
    const char *at = v + kv_bytes(type, d);
    for (size_t p = 0; p < n; p++, at += kv_bytes(type, head_dim)) {
        __m256 value[8];
        UNROLL for (size_t j = 0; j < parts; j++)
        {
            if (j % step_parts(type) == 0)
                prefetch_beside(at + kv_bytes(type, j * LANES), ahead);
            value[j] = load_part(type, at, j);
        }
        UNROLL for (size_t i = 0; i < queries; i++)
        {
            __m256 weight = _mm256_set1_ps(s[i * ATTENTION_BLOCK + p]);
            UNROLL for (size_t j = 0; j < parts; j++) sums[i][j] =
                _mm256_fmadd_ps(weight, value[j], sums[i][j]);
        }
    }
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        _mm256_storeu_ps(out + i * head_dim + d + j * LANES, sums[i][j]);
}

INLINE void accumulate_pass(kv_type type, float *out, const float *rescale, const float *s,
                            size_t queries, const char *v, size_t n, size_t head_dim,
                            ptrdiff_t ahead)
{
    size_t d = 0, wide = queries == 1 ? 8 : queries == 2 ? 4 : 2; /* eight chains */
    for (; d + wide * LANES <= head_dim; d += wide * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, wide, ahead);
    size_t rest = type == KV_Q8_0 ? step_parts(type) : 1;
    for (; d < head_dim; d += rest * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, rest, ahead);
}

/* Only the first queries that pass over the values ask for more. */
INLINE void accumulate_queries(kv_type type, float *out, const float *rescale, const float *s,
                               size_t n_queries, const char *v, size_t n, size_t head_dim,
                               ptrdiff_t ahead)
{
    size_t i = 0;
    for (; type != KV_Q8_0 && i + 4 <= n_queries; i += 4, ahead = 0) /* half a block is no step */
        accumulate_pass(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 4, v, n,
                        head_dim, ahead);
    for (; i + 2 <= n_queries; i += 2, ahead = 0)
        accumulate_pass(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 2, v, n,
                        head_dim, ahead);
    if (i < n_queries)
        accumulate_pass(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 1, v, n,
                        head_dim, ahead);
}

DEFINE_ATTENTION(avx2)
#endif
