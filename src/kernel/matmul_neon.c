/*
 * matmul_neon.c: the products for NEON with dot products (ARMv8.2 FEAT_DotProd). Four registers
 * hold a quad of sixteen rows, so each block is passed over in four quarters of four rows, for up
 * to eight columns at once: eight independent sums hide the latency of one.
 *
 * sdot multiplies signed bytes, and the packed values are unsigned. Those of four to six bits are
 * the same number either way; eight bits get their top bit inverted, which takes 128 away again, so
 * that no zero point remains.
 */
#if defined(__aarch64__)
#include "kernel/matmul_neon.h"

#include "kernel/matmul_reference.h"
#include "kernel/tile_neon.h"

/* ---- floats --------------------------------------------------------------------------------- */

typedef float32x4_t load_function(const void *record, size_t k, size_t quarter);

INLINE float32x4_t weights_f32(const void *record, size_t k, size_t quarter)
{
    const float *rows = ((const record_f32 *)record)->w[k] + quarter * LANES;
    return vld1q_f32(first_prefetches(rows, quarter));
}

/* Two columns of 16-bit weights make a line. */
INLINE const uint16_t *weights_16_bits(const void *record, size_t k, size_t quarter)
{
    const uint16_t *rows = ((const record_f16 *)record)->w[k] + quarter * LANES;
    return first_prefetches(rows, quarter + k % 2);
}

INLINE float32x4_t weights_f16(const void *record, size_t k, size_t quarter)
{
    return load_f16(weights_16_bits(record, k, quarter));
}

INLINE float32x4_t weights_bf16(const void *record, size_t k, size_t quarter)
{
    uint16x4_t upper = vld1_u16(weights_16_bits(record, k, quarter));
    return vreinterpretq_f32_u32(vshll_n_u16(upper, 16));
}

INLINE void add_floats(load_function *load, const void *record, const char *x, size_t x_stride,
                       size_t columns, rows_f32 total[TILE_COLUMNS])
{
    EACH_QUARTER
    {
        float32x4_t even[TILE_COLUMNS], odd[TILE_COLUMNS];
        EACH_COLUMN even[c] = odd[c] = vdupq_n_f32(0);
        for (size_t k = 0; k < BLOCK_COLUMNS; k += 4) {
            float32x4_t w0 = load(record, k, quarter), w1 = load(record, k + 1, quarter);
            float32x4_t w2 = load(record, k + 2, quarter), w3 = load(record, k + 3, quarter);
            EACH_COLUMN
            {
                float32x4_t values = vld1q_f32((const float *)(const void *)(x + c * x_stride) + k);
                even[c] = vfmaq_laneq_f32(even[c], w0, values, 0);
                odd[c] = vfmaq_laneq_f32(odd[c], w1, values, 1);
                even[c] = vfmaq_laneq_f32(even[c], w2, values, 2);
                odd[c] = vfmaq_laneq_f32(odd[c], w3, values, 3);
            }
        }
        EACH_COLUMN total[c].quarter[quarter] =
            vaddq_f32(total[c].quarter[quarter], vaddq_f32(even[c], odd[c]));
    }
}

INLINE void add_f32(const void *record, const char *x, size_t x_stride, size_t columns,
                    rows_f32 total[TILE_COLUMNS])
{
    add_floats(weights_f32, record, x, x_stride, columns, total);
}

INLINE void add_f16(const void *record, const char *x, size_t x_stride, size_t columns,
                    rows_f32 total[TILE_COLUMNS])
{
    add_floats(weights_f16, record, x, x_stride, columns, total);
}

INLINE void add_bf16(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    add_floats(weights_bf16, record, x, x_stride, columns, total);
}

DEFINE_TILE(f32, add_f32, TILE_COLUMNS, record_f32, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(f16, add_f16, TILE_COLUMNS, record_f16, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(bf16, add_bf16, TILE_COLUMNS, record_f16, BLOCK_COLUMNS * sizeof(float))

/* ---- integers ------------------------------------------------------------------------------- */

INLINE void add_q8_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q8_0 *w = record;
    for (size_t b = 0; b < 2; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(0);
            UNROLL for (size_t i = 0; i < BLOCK_QUADS; i++)
            {
                uint8x16_t quad = veorq_u8(load_quad(w->q[b][i], quarter), vdupq_n_u8(0x80));
                EACH_COLUMN dot[c] =
                    add_quad(dot[c], quad, block_of(x, x_stride, c, b)->q + i / 4 * 16, i % 4);
            }
            float32x4_t d = load_halves(w->d[b], quarter);
            EACH_COLUMN total[c].quarter[quarter] =
                add_scaled(total[c].quarter[quarter], dot[c], d, block_of(x, x_stride, c, b));
        }
}

INLINE void add_q4_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q4_0 *w = record;
    for (size_t b = 0; b < 2; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(block_of(x, x_stride, c, b)->minus_8_sum);
            dot_nibbles(w->q[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t d = load_halves(w->d[b], quarter);
            EACH_COLUMN total[c].quarter[quarter] =
                add_scaled(total[c].quarter[quarter], dot[c], d, block_of(x, x_stride, c, b));
        }
}

/* Adds block b of every column, whose Σ q · x is dot, with scale and minimum. */
INLINE void add_with_min(const super_scales *w, size_t b, size_t quarter, const char *x,
                         size_t x_stride, size_t columns, const int32x4_t dot[TILE_COLUMNS],
                         rows_f32 total[TILE_COLUMNS])
{
    uint32_t low = four_bytes(w->low[b], quarter), high = four_bytes(w->high[b / 2], quarter);
    high = b % 2 == 0 ? high << 4 : high;
    float32x4_t scale = scales_by(w->d, six_bit_bytes(low, high), quarter);
    float32x4_t min = scales_by(w->dmin, six_bit_bytes(low >> 4, high >> 2), quarter);
    EACH_COLUMN
    {
        const activation_block *block = block_of(x, x_stride, c, b);
        float32x4_t value = vmulq_f32(vcvtq_f32_s32(dot[c]), scale);
        value = vfmsq_f32(value, min, vdupq_n_f32(block->sum));
        total[c].quarter[quarter] = vfmaq_n_f32(total[c].quarter[quarter], value, block->scale);
    }
}

INLINE void add_q4_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q4_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(0);
            dot_nibbles(w->q[b], quarter, x, x_stride, b, columns, dot);
            add_with_min(&w->scales, b, quarter, x, x_stride, columns, dot, total);
        }
}

INLINE void add_q5_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q5_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(0);
            dot_five_bits(&w->block[b], quarter, x, x_stride, b, columns, dot);
            add_with_min(&w->scales, b, quarter, x, x_stride, columns, dot, total);
        }
}

/* Bits 2i, 2i + 1 of `high` become bits 4, 5 beside a nibble. */
INLINE uint8x16_t six_bits(uint8x16_t nibbles, uint8x16_t high, size_t i)
{
    uint8x16_t placed = vshlq_u8(high, vdupq_n_s8((int8_t)(4 - 2 * (int)i)));
    return vorrq_u8(nibbles, vandq_u8(placed, vdupq_n_u8(0x30)));
}

/* The sixteen products of block half `part`, its zero point included. */
INLINE void dot_six_bits(const record_q6_k *w, size_t quarter, const char *x, size_t x_stride,
                         size_t block, size_t part, size_t columns, int32x4_t dot[TILE_COLUMNS])
{
    uint8x16_t high = load_quad(w->block[block].high[part], quarter);
    EACH_COLUMN dot[c] = vdupq_n_s32(block_of(x, x_stride, c, block)->minus_32_sum[part]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        uint8x16_t both = load_quad(w->block[block].low[i], quarter);
        uint8x16_t q = six_bits(part == 0 ? low_nibbles(both) : high_nibbles(both), high, i);
        EACH_COLUMN dot[c] = add_quad(dot[c], q, block_of(x, x_stride, c, block)->q + 16 * part, i);
    }
}

INLINE void add_q6_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q6_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            float32x4_t value[TILE_COLUMNS];
            dot_six_bits(w, quarter, x, x_stride, b, 0, columns, dot);
            float32x4_t scale = scales_of(w->d, w->scale[b][0], quarter);
            EACH_COLUMN value[c] = vmulq_f32(vcvtq_f32_s32(dot[c]), scale);
            dot_six_bits(w, quarter, x, x_stride, b, 1, columns, dot);
            scale = scales_of(w->d, w->scale[b][1], quarter);
            EACH_COLUMN
            {
                value[c] = vfmaq_f32(value[c], vcvtq_f32_s32(dot[c]), scale);
                float x_scale = block_of(x, x_stride, c, b)->scale;
                total[c].quarter[quarter] =
                    vfmaq_n_f32(total[c].quarter[quarter], value[c], x_scale);
            }
        }
}

DEFINE_TILE(q8_0, add_q8_0, TILE_COLUMNS, record_q8_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_0, add_q4_0, TILE_COLUMNS, record_q4_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_k, add_q4_k, TILE_COLUMNS, record_q4_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q5_k, add_q5_k, TILE_COLUMNS, record_q5_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q6_k, add_q6_k, TILE_COLUMNS, record_q6_k, K_BLOCKS * sizeof(activation_block))

/* ---- activations ---------------------------------------------------------------------------- */

/* Four values as integers in [−127, 127]. fmaxnm makes NaN −127. */
INLINE int32x4_t round_clamped(const float *x, float inverse)
{
    float32x4_t scaled = vmulq_n_f32(vld1q_f32(x), inverse);
    scaled = vminnmq_f32(vmaxnmq_f32(scaled, vdupq_n_f32(-127)), vdupq_n_f32(127));
    return vcvtnq_s32_f32(scaled);
}

INLINE int8x16_t round_sixteen(const float *x, float inverse)
{
    int16x8_t low = vcombine_s16(vmovn_s32(round_clamped(x, inverse)),
                                 vmovn_s32(round_clamped(x + 4, inverse)));
    int16x8_t high = vcombine_s16(vmovn_s32(round_clamped(x + 8, inverse)),
                                  vmovn_s32(round_clamped(x + 12, inverse)));
    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

void neon_quantize(activation_block *blocks, const float *x, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, blocks++, x += BLOCK_COLUMNS) {
        float32x4_t all = vdupq_n_f32(0);
        UNROLL for (size_t k = 0; k < BLOCK_COLUMNS; k += LANES) all =
            larger(vabsq_f32(vld1q_f32(x + k)), all);
        float max = largest_lane(all);
        bool tiny = max < QUANTIZE_TINY;
        float inverse = tiny ? 0 : 127 / max;
        int8x16_t q0 = round_sixteen(x, inverse), q1 = round_sixteen(x + 16, inverse);
        int32_t half0 = vaddlvq_s8(q0), half1 = vaddlvq_s8(q1);
        vst1q_s8(blocks->q, q0);
        vst1q_s8(blocks->q + 16, q1);
        blocks->scale = tiny ? 0 : max / 127;
        keep_sums(blocks, half0, half1);
    }
}
#endif
