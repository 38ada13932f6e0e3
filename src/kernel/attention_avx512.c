/* attention_avx512.c: attention's three parts, the vector operations, and the AVX-512 set itself.
 */
#if defined(__x86_64__)
#include "kernel/matmul_avx512.h"

#include <immintrin.h>
#include <math.h>

#include "kernel/exponential.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { LANES = 16 };

/* The first n < 16 of sixteen. */
INLINE __mmask16 first_lanes(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

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

static void scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                   size_t head_dim, float *s)
{
    if (type == KV_F16)
        score_queries(KV_F16, q, n_queries, k, n, head_dim, s);
    else
        score_queries(KV_F32, q, n_queries, k, n, head_dim, s);
}

/* ---- softmax -------------------------------------------------------------------------------- */

INLINE __m512 exponential(__m512 x)
{
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXP_LOWEST), _CMP_GE_OQ);
    x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(EXP_LOWEST)), _mm512_set1_ps(EXP_HIGHEST));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(EXP_LOG2_E)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN_2_HIGH), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN_2_LOW), r);
    __m512 p = _mm512_set1_ps(EXP_C7);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_C2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1));
    __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    __m512 power = _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
    return _mm512_maskz_mul_ps(above, p, power);
}

INLINE float sum_lanes(__m512 a)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static float softmax(float *s, size_t n, float *max, float *sum)
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

static void accumulate(kv_type type, float *out, const float *rescale, const float *s,
                       size_t n_queries, const void *v, size_t n, size_t head_dim)
{
    if (type == KV_F16)
        accumulate_type(KV_F16, out, rescale, s, n_queries, v, n, head_dim);
    else
        accumulate_type(KV_F32, out, rescale, s, n_queries, v, n, head_dim);
}

/* ---- vectors -------------------------------------------------------------------------------- */

/* The lanes that exist of the sixteen from i on. */
INLINE __mmask16 lanes_at(size_t i, size_t n)
{
    return n - i < LANES ? first_lanes(n - i) : 0xffff;
}

static void store_f16(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 values = _mm512_maskz_loadu_ps(lanes, src + i);
        __m256i halves = _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16(dst + i, lanes, halves);
    }
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    __m512d squares = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = n - i < 8 ? (__mmask8)first_lanes(n - i) : 0xff;
        __m512d values = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes, x + i));
        squares = _mm512_fmadd_pd(values, values, squares);
    }
    __m256d four =
        _mm256_add_pd(_mm512_castpd512_pd256(squares), _mm512_extractf64x4_pd(squares, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    double sum = _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
    __m512 scale = _mm512_set1_ps((float)(1 / sqrt(sum / (double)n + (double)epsilon)));
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), scale);
        scaled = _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(lanes, weight + i));
        _mm512_mask_storeu_ps(out + i, lanes, scaled);
    }
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 sum =
            _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_maskz_loadu_ps(lanes, y + i));
        _mm512_mask_storeu_ps(x + i, lanes, sum);
    }
}

static void silu_multiply(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
        __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), g));
        __m512 silu = _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1), e));
        _mm512_mask_storeu_ps(gate + i, lanes,
                              _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(lanes, up + i)));
    }
}

/* Everything the Makefile lets the compiler use in the files *_avx512.c; this also asks whether the
 * operating system saves the registers. */
static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

const kernel_set kernel_avx512 = {
    .name = "avx512",
    .supported = supported,
    .tile =
        {
            [PACKED_F32] = avx512_tile_f32,
            [PACKED_F16] = avx512_tile_f16,
            [PACKED_BF16] = avx512_tile_bf16,
            [PACKED_Q8_0] = avx512_tile_q8_0,
            [PACKED_Q4_0] = avx512_tile_q4_0,
            [PACKED_Q4_K] = avx512_tile_q4_k,
            [PACKED_Q6_K] = avx512_tile_q6_k,
        },
    .quantize = avx512_quantize,
    .scores = scores,
    .softmax = softmax,
    .accumulate = accumulate,
    .store_f16 = store_f16,
    .rms_norm = rms_norm,
    .add = add,
    .silu_multiply = silu_multiply,
};
#endif
