/* matmul_rare_neon.c: the products for NEON of the types that are met less often. */
#if defined(__aarch64__)
#include "kernel/matmul_neon.h"
#include "kernel/tile_neon.h"

/* total + (dot · d + m · Σq) · x's scale. */
INLINE float32x4_t add_with_offset(float32x4_t total, int32x4_t dot, float32x4_t d, float32x4_t m,
                                   const activation_block *x)
{
    float32x4_t value = vmulq_f32(vcvtq_f32_s32(dot), d);
    return vfmaq_n_f32(total, vfmaq_n_f32(value, m, x->sum), x->scale);
}

INLINE void add_q4_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q4_1 *w = record;
    for (size_t b = 0; b < 2; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(0);
            dot_nibbles(w->q[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t d = load_halves(w->d[b], quarter);
            float32x4_t m = load_halves(w->m[b], quarter);
            EACH_COLUMN total[c].quarter[quarter] = add_with_offset(
                total[c].quarter[quarter], dot[c], d, m, block_of(x, x_stride, c, b));
        }
}

INLINE void add_q5_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q5_0 *w = record;
    for (size_t b = 0; b < 2; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(2 * block_of(x, x_stride, c, b)->minus_8_sum);
            dot_five_bits(&w->block[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t d = load_halves(w->d[b], quarter);
            EACH_COLUMN total[c].quarter[quarter] =
                add_scaled(total[c].quarter[quarter], dot[c], d, block_of(x, x_stride, c, b));
        }
}

INLINE void add_q5_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q5_1 *w = record;
    for (size_t b = 0; b < 2; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = vdupq_n_s32(0);
            dot_five_bits(&w->block[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t d = load_halves(w->d[b], quarter);
            float32x4_t m = load_halves(w->m[b], quarter);
            EACH_COLUMN total[c].quarter[quarter] = add_with_offset(
                total[c].quarter[quarter], dot[c], d, m, block_of(x, x_stride, c, b));
        }
}

/* ---- values from a table -------------------------------------------------------------------- */

INLINE void dot_table(const int8_t values_of[16], const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4],
                      size_t quarter, const char *x, size_t x_stride, size_t block, size_t columns,
                      int32x4_t dot[TILE_COLUMNS])
{
    uint8x16_t table = vreinterpretq_u8_s8(vld1q_s8(values_of)); /* signed bytes */
    EACH_COLUMN dot[c] = vdupq_n_s32(0);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        uint8x16_t both = load_quad(q[i], quarter);
        uint8x16_t low = vqtbl1q_u8(table, low_nibbles(both));
        uint8x16_t high = vqtbl1q_u8(table, high_nibbles(both));
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q;
            dot[c] = add_quad(dot[c], low, values, i);
            dot[c] = add_quad(dot[c], high, values + BLOCK_COLUMNS / 2, i);
        }
    }
}

INLINE void add_iq4_nl(const void *record, const char *x, size_t x_stride, size_t columns,
                       rows_f32 total[TILE_COLUMNS])
{
    const record_iq4_nl *w = record;
    for (size_t b = 0; b < 2; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            dot_table(iq4_values, w->q[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t d = load_halves(w->d[b], quarter);
            EACH_COLUMN total[c].quarter[quarter] =
                add_scaled(total[c].quarter[quarter], dot[c], d, block_of(x, x_stride, c, b));
        }
}

/* As in matmul_rare_x86.h. */
INLINE float32x4_t mxfp4_scales(uint32_t four)
{
    uint32x4_t e = vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
    float32x4_t whole = vreinterpretq_f32_u32(vshlq_n_u32(e, 23));
    float32x4_t half = vfmaq_n_f32(vmulq_n_f32(whole, 0), whole, 0.5f);
    return vmaxq_f32(vdupq_n_f32(0x1p-128f), half);
}

INLINE void add_mxfp4(const void *record, const char *x, size_t x_stride, size_t columns,
                      rows_f32 total[TILE_COLUMNS])
{
    const record_mxfp4 *w = record;
    for (size_t b = 0; b < FOUR_BLOCKS; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            dot_table(mxfp4_values, w->q[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t d = mxfp4_scales(four_bytes(w->e[b], quarter));
            EACH_COLUMN total[c].quarter[quarter] =
                add_scaled(total[c].quarter[quarter], dot[c], d, block_of(x, x_stride, c, b));
        }
}

/* scale − 32. */
INLINE int32x4_t scale_iq4_xs(const record_iq4_xs *w, size_t quarter, size_t block)
{
    size_t pair = block / 2;
    uint32_t low = four_bytes(w->scale_low[block / 4][block % 2], quarter) >> pair % 2 * 4;
    uint32_t high = four_bytes(w->scale_high[block % 2], quarter) >> 2 * pair;
    int32x4_t scale = bytes_to_int((low & 0x0f0f0f0fu) | (high & 0x03030303u) << 4);
    return vsubq_s32(scale, vdupq_n_s32(32));
}

INLINE void add_iq4_xs(const void *record, const char *x, size_t x_stride, size_t columns,
                       rows_f32 total[TILE_COLUMNS])
{
    const record_iq4_xs *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        EACH_QUARTER
        {
            int32x4_t dot[TILE_COLUMNS];
            dot_table(iq4_values, w->q[b], quarter, x, x_stride, b, columns, dot);
            float32x4_t scale = scales_by(w->d, scale_iq4_xs(w, quarter, b), quarter);
            EACH_COLUMN total[c].quarter[quarter] =
                add_scaled(total[c].quarter[quarter], dot[c], scale, block_of(x, x_stride, c, b));
        }
}

/* ---- two and three bits --------------------------------------------------------------------- */

/* Each byte >> shift; the shift is negative in the instruction. */
INLINE uint8x16_t shift_right(uint8x16_t bytes, size_t shift)
{
    return vshlq_u8(bytes, vdupq_n_s8((int8_t)(-(int)shift)));
}

INLINE uint8x16_t two_bits(uint8x16_t q, size_t i)
{
    return vandq_u8(shift_right(q, 2 * i), vdupq_n_u8(3));
}

/* The sixteen products of block half `part`. */
INLINE void dot_two_bits(const record_q2_k *w, size_t quarter, const char *x, size_t x_stride,
                         size_t block, size_t part, size_t columns, int32x4_t dot[TILE_COLUMNS])
{
    uint8x16_t q = load_quad(w->q[block][part], quarter);
    EACH_COLUMN dot[c] = vdupq_n_s32(0);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        uint8x16_t quad = two_bits(q, i);
        EACH_COLUMN dot[c] =
            add_quad(dot[c], quad, block_of(x, x_stride, c, block)->q + 16 * part, i);
    }
}

INLINE void add_q2_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q2_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        EACH_QUARTER
        {
            float32x4_t d = load_halves(w->d, quarter), dmin = load_halves(w->dmin, quarter);
            int32x4_t first[TILE_COLUMNS], second[TILE_COLUMNS];
            dot_two_bits(w, quarter, x, x_stride, b, 0, columns, first);
            dot_two_bits(w, quarter, x, x_stride, b, 1, columns, second);
            uint32_t both0 = four_bytes(w->scale_min[b][0], quarter);
            uint32_t both1 = four_bytes(w->scale_min[b][1], quarter);
            int32x4_t scale0 = bytes_to_int(both0 & 0x0f0f0f0fu);
            int32x4_t scale1 = bytes_to_int(both1 & 0x0f0f0f0fu);
            int32x4_t min0 = bytes_to_int(both0 >> 4 & 0x0f0f0f0fu);
            int32x4_t min1 = bytes_to_int(both1 >> 4 & 0x0f0f0f0fu);
            EACH_COLUMN
            {
                const activation_block *block = block_of(x, x_stride, c, b);
                int32x4_t dot = vmlaq_s32(vmulq_s32(first[c], scale0), second[c], scale1);
                int32x4_t offset = vmulq_n_s32(min0, block->half_sum[0]);
                offset = vmlaq_n_s32(offset, min1, block->half_sum[1]);
                float32x4_t value = vmulq_f32(vcvtq_f32_s32(dot), d);
                value = vfmsq_f32(value, vcvtq_f32_s32(offset), dmin);
                total[c].quarter[quarter] =
                    vfmaq_n_f32(total[c].quarter[quarter], value, block->scale);
            }
        }
}

/* The sixteen products of block half `part`, its zero point included. */
INLINE void dot_three_bits(const record_q3_k *w, size_t quarter, const char *x, size_t x_stride,
                           size_t block, size_t part, size_t columns, int32x4_t dot[TILE_COLUMNS])
{
    uint8x16_t low = load_quad(w->block[block].low[part], quarter);
    uint8x16_t high = load_quad(w->block[block].high, quarter);
    EACH_COLUMN dot[c] = vdupq_n_s32(-block_of(x, x_stride, c, block)->half_sum_4[part]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        uint8x16_t third = vandq_u8(shift_right(high, 4 * part + i), vdupq_n_u8(1));
        uint8x16_t quad = vorrq_u8(two_bits(low, i), vshlq_n_u8(third, 2));
        EACH_COLUMN dot[c] =
            add_quad(dot[c], quad, block_of(x, x_stride, c, block)->q + 16 * part, i);
    }
}

/* scale − 32 of block half `part`. */
INLINE int32x4_t scale_q3_k(const record_q3_k *w, size_t quarter, size_t block, size_t part)
{
    uint32_t low = four_bytes(w->scale_low[block], quarter) >> 4 * part & 0x0f0f0f0fu;
    uint32_t high = four_bytes(w->scale_high[block / 2], quarter) >> (block % 2 * 4 + 2 * part);
    int32x4_t scale = bytes_to_int(low | (high & 0x03030303u) << 4);
    return vsubq_s32(scale, vdupq_n_s32(32));
}

INLINE void add_q3_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q3_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        EACH_QUARTER
        {
            float32x4_t d = load_halves(w->d, quarter);
            int32x4_t first[TILE_COLUMNS], second[TILE_COLUMNS];
            dot_three_bits(w, quarter, x, x_stride, b, 0, columns, first);
            dot_three_bits(w, quarter, x, x_stride, b, 1, columns, second);
            int32x4_t scale0 = scale_q3_k(w, quarter, b, 0);
            int32x4_t scale1 = scale_q3_k(w, quarter, b, 1);
            EACH_COLUMN
            {
                int32x4_t dot = vmlaq_s32(vmulq_s32(first[c], scale0), second[c], scale1);
                total[c].quarter[quarter] =
                    add_scaled(total[c].quarter[quarter], dot, d, block_of(x, x_stride, c, b));
            }
        }
}

DEFINE_TILE(q4_1, add_q4_1, TILE_COLUMNS, record_q4_1, 2 * sizeof(activation_block))
DEFINE_TILE(q5_0, add_q5_0, TILE_COLUMNS, record_q5_0, 2 * sizeof(activation_block))
DEFINE_TILE(q5_1, add_q5_1, TILE_COLUMNS, record_q5_1, 2 * sizeof(activation_block))
DEFINE_TILE(iq4_nl, add_iq4_nl, TILE_COLUMNS, record_iq4_nl, 2 * sizeof(activation_block))
DEFINE_TILE(mxfp4, add_mxfp4, TILE_COLUMNS, record_mxfp4, FOUR_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q2_k, add_q2_k, TILE_COLUMNS, record_q2_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q3_k, add_q3_k, TILE_COLUMNS, record_q3_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(iq4_xs, add_iq4_xs, TILE_COLUMNS, record_iq4_xs, K_BLOCKS * sizeof(activation_block))
#endif
