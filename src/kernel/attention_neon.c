/* attention_neon.c: attention's parts for NEON. Four registers are the sixteen partial sums
 * of a dot product. */
#if defined(__aarch64__)
#include "kernel/attention_entry.h"
#include "kernel/simd_neon.h"

INLINE float32x4_t load_q8_0(const kv_q8_0 *block, size_t index)
{
    uint32_t four;
    memcpy(&four, block->q + index, sizeof four);
    int32x4_t q = vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four))));
    float32x4_t scale = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(block->d)));
    return vmulq_f32(scale, vcvtq_f32_s32(q));
}

INLINE float32x4_t load_values(kv_type type, const void *values, size_t index)
{
    if (type == KV_Q8_0)
        return load_q8_0((const kv_q8_0 *)values + index / KV_BLOCK, index % KV_BLOCK);
    return type == KV_F32 ? vld1q_f32((const float *)values + index)
                          : load_f16((const uint16_t *)values + index);
}

/* ---- expanding ------------------------------------------------------------------------------ */

INLINE void expand_type(kv_type type, float *dst, const void *src, size_t n, ptrdiff_t ahead)
{
    for (size_t i = 0; i < n; i += 2 * LANES) {
        prefetch_beside((const char *)src + kv_bytes(type, i), ahead);
        vst1q_f32(dst + i, load_values(type, src, i));
        vst1q_f32(dst + i + LANES, load_values(type, src, i + LANES));
    }
}

/* Four nibbles of each half of a block: values [4 i, 4 i + 4) and [32 + 4 i, …). */
INLINE void load_nibbles(const uint8_t *q, size_t i, float32x4_t *low, float32x4_t *high)
{
    uint32_t four;
    memcpy(&four, q + i * LANES, sizeof four);
    uint8x8_t both = vcreate_u8(four);
    uint16x8_t wide[2] = {vmovl_u8(vand_u8(both, vdup_n_u8(15))), vmovl_u8(vshr_n_u8(both, 4))};
    *low = vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide[0])));
    *high = vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide[1])));
}

INLINE void expand_q4(float *dst, const void *src, size_t n, ptrdiff_t ahead)
{
    const kv_q4 *block = src;
    for (size_t i = 0; i < n; i += KV_Q4_BLOCK, block++) {
        prefetch_beside((const char *)block, ahead);
        float32x4_t d = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(block->d)));
        float32x4_t m = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(block->m)));
        UNROLL for (size_t j = 0; j < 8; j++)
        {
            float32x4_t low, high;
            load_nibbles(block->q, j, &low, &high);
            vst1q_f32(dst + i + j * LANES, vfmaq_f32(m, d, low));
            vst1q_f32(dst + i + (j + 8) * LANES, vfmaq_f32(m, d, high));
        }
    }
}

/* Four channels of either half at a time, whose scales stay in registers. */
INLINE void expand_channels(float *dst, const kv_q4_group *g, size_t begin, size_t end,
                            size_t head_dim, size_t c, ptrdiff_t ahead)
{
    enum { HALF = KV_Q4_BLOCK / 2 };
    size_t first = c / HALF * KV_Q4_BLOCK + c % HALF; /* the channel of the low nibbles */
    float32x4_t d[2] = {load_f16(g->d + first), load_f16(g->d + first + HALF)};
    float32x4_t m[2] = {load_f16(g->m + first), load_f16(g->m + first + HALF)};
    for (size_t p = begin; p < end; p++, dst += head_dim) {
        const uint8_t *q = g->q + p * head_dim / 2 + c;
        float32x4_t low, high;
        if (c == 0)
            prefetch_beside((const char *)q, ahead);
        load_nibbles(q, 0, &low, &high);
        vst1q_f32(dst + first, vfmaq_f32(m[0], d[0], low));
        vst1q_f32(dst + first + HALF, vfmaq_f32(m[1], d[1], high));
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

enum {
    PARTS = 4, /* registers of partial sums a dot product */
    SUMS = 4,  /* dot products side by side */
};

/* `parts` registers of head dimensions from d on, for `queries` queries and the positions `at`. */
INLINE void add_products(kv_type type, const float *q, size_t queries, const void *k,
                         const size_t at[SUMS], size_t d, size_t parts, size_t head_dim,
                         float32x4_t sums[SUMS][PARTS])
{
    size_t positions = SUMS / queries;
    UNROLL for (size_t part = 0; part < parts; part++) UNROLL for (size_t p = 0; p < positions; p++)
    {
        float32x4_t key = load_values(type, k, at[p] + d + part * LANES);
        UNROLL for (size_t i = 0; i < queries; i++)
        {
            float32x4_t query = vld1q_f32(q + i * head_dim + d + part * LANES);
            float32x4_t *sum = &sums[i * positions + p][part];
            *sum = vfmaq_f32(*sum, query, key);
        }
    }
}

/* `queries` (1 or 2) against 4 / queries positions from `first`; positions past n − 1 repeat the
 * last one, and what they give is not used. */
INLINE void score_tile(kv_type type, const float *q, size_t queries, const void *k, size_t first,
                       size_t n, size_t head_dim, ptrdiff_t ahead, float *s)
{
    float32x4_t sums[SUMS][PARTS];
    size_t at[SUMS];
    UNROLL for (size_t i = 0; i < SUMS; i++) UNROLL for (size_t part = 0; part < PARTS; part++)
        sums[i][part] = vdupq_n_f32(0);
    UNROLL for (size_t p = 0; p < SUMS / queries; p++) at[p] =
        (first + p < n ? first + p : n - 1) * head_dim;
    size_t d = 0;
    for (; d + PARTS * LANES <= head_dim; d += PARTS * LANES) {
        UNROLL for (size_t p = 0; p < SUMS / queries; p++)
            prefetch_beside((const char *)k + kv_bytes(type, at[p] + d), ahead);
        add_products(type, q, queries, k, at, d, PARTS, head_dim, sums);
    }
    if (d < head_dim)
        add_products(type, q, queries, k, at, d, PARTS / 2, head_dim, sums);
    float32x4_t scores = sum_four(sum_to_four(sums[0]), sum_to_four(sums[1]), sum_to_four(sums[2]),
                                  sum_to_four(sums[3]));
    if (queries == 1) {
        vst1q_f32(s + first, scores);
    } else {
        vst1_f32(s + first, vget_low_f32(scores));
        vst1_f32(s + ATTENTION_BLOCK + first, vget_high_f32(scores));
    }
}

/* Only the first queries that pass over the keys ask for more. */
INLINE void score_queries(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
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

float neon_softmax(float *s, size_t n, float *max, float *sum)
{
    enum { REGISTERS = ATTENTION_BLOCK / LANES };
    for (size_t j = n; j < ATTENTION_BLOCK; j++)
        s[j] = -INFINITY;
    float32x4_t part[REGISTERS], largest = vdupq_n_f32(*max);
    UNROLL for (size_t i = 0; i < REGISTERS; i++) largest =
        larger(vld1q_f32(s + i * LANES), largest);
    float new_max = largest_lane(largest);
    float rescale = vgetq_lane_f32(exponential(vdupq_n_f32(*max - new_max)), 0);
    UNROLL for (size_t i = 0; i < REGISTERS; i++)
    {
        part[i] = exponential(vsubq_f32(vld1q_f32(s + i * LANES), vdupq_n_f32(new_max)));
        vst1q_f32(s + i * LANES, part[i]);
    }
    float32x4_t lanes[PARTS];
    UNROLL for (size_t i = 0; i < PARTS; i++) lanes[i] = vaddq_f32(
        vaddq_f32(part[i], part[i + PARTS]), vaddq_f32(part[i + 2 * PARTS], part[i + 3 * PARTS]));
    float32x4_t four = sum_to_four(lanes);
    *sum = fmaf(*sum, rescale, vgetq_lane_f32(sum_four(four, four, four, four), 0));
    *max = new_max;
    return rescale;
}

/* ---- values --------------------------------------------------------------------------------- */

/* `parts` registers of head dimensions from d on, for `queries` queries. */
INLINE void accumulate_tile(kv_type type, float *out, const float *rescale, const float *s,
                            size_t queries, const void *v, size_t n, size_t head_dim, size_t d,
                            size_t parts, ptrdiff_t ahead)
{
    float32x4_t sums[4][8];
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        sums[i][j] = vmulq_n_f32(vld1q_f32(out + i * head_dim + d + j * LANES), rescale[i]);
    for (size_t p = 0; p < n; p++) {
        float32x4_t value[8];
        prefetch_beside((const char *)v + kv_bytes(type, p * head_dim + d), ahead);
        UNROLL for (size_t j = 0; j < parts; j++) value[j] =
            load_values(type, v, p * head_dim + d + j * LANES);
        UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
            sums[i][j] = vfmaq_n_f32(sums[i][j], value[j], s[i * ATTENTION_BLOCK + p]);
    }
    UNROLL for (size_t i = 0; i < queries; i++) UNROLL for (size_t j = 0; j < parts; j++)
        vst1q_f32(out + i * head_dim + d + j * LANES, sums[i][j]);
}

INLINE void accumulate_pass(kv_type type, float *out, const float *rescale, const float *s,
                            size_t queries, const void *v, size_t n, size_t head_dim,
                            ptrdiff_t ahead)
{
    size_t d = 0, wide = queries == 4 ? 4 : 8; /* at most 16 sums */
    for (; d + wide * LANES <= head_dim; d += wide * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, wide, ahead);
    for (; d < head_dim; d += 2 * LANES)
        accumulate_tile(type, out, rescale, s, queries, v, n, head_dim, d, 2, ahead);
}

/* Only the first queries that pass over the values ask for more. */
INLINE void accumulate_queries(kv_type type, float *out, const float *rescale, const float *s,
                               size_t n_queries, const void *v, size_t n, size_t head_dim,
                               ptrdiff_t ahead)
{
    size_t i = 0;
    for (; i + 4 <= n_queries; i += 4, ahead = 0)
        accumulate_pass(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 4, v, n,
                        head_dim, ahead);
    for (; i + 2 <= n_queries; i += 2, ahead = 0)
        accumulate_pass(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 2, v, n,
                        head_dim, ahead);
    if (i < n_queries)
        accumulate_pass(type, out + i * head_dim, rescale + i, s + i * ATTENTION_BLOCK, 1, v, n,
                        head_dim, ahead);
}

DEFINE_ATTENTION(neon)
#endif
