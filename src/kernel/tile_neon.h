/* tile_neon.h: what the products for NEON share. Included only by the files matmul_*neon.c. */
#ifndef KERNEL_TILE_NEON_H
#define KERNEL_TILE_NEON_H

#include "kernel/prefetch.h"
#include "kernel/simd_neon.h"

#define SET(name) neon_##name
#define EACH_QUARTER UNROLL for (size_t quarter = 0; quarter < QUARTERS; quarter++)

enum { QUARTERS = GROUP_ROWS / LANES };

/* The address itself; the first quarter's pass asks for the line PREFETCH_BYTES on. */
INLINE const void *first_prefetches(const void *address, size_t quarter)
{
    return quarter == 0 ? with_prefetch(address) : address;
}

typedef struct rows_f32 { /* rows 0–3, 4–7, 8–11, 12–15 */
    float32x4_t quarter[QUARTERS];
} rows_f32;

INLINE rows_f32 zero_f32(void)
{
    float32x4_t zero = vdupq_n_f32(0);
    return (rows_f32){{zero, zero, zero, zero}};
}

INLINE rows_f32 load_sums(const float *y)
{
    rows_f32 a;
    EACH_QUARTER a.quarter[quarter] = vld1q_f32(y + quarter * LANES);
    return a;
}

INLINE void store_f32(float *y, rows_f32 a)
{
    EACH_QUARTER vst1q_f32(y + quarter * LANES, a.quarter[quarter]);
}

#include "kernel/tile.h"

/* ---- integers ------------------------------------------------------------------------------- */

INLINE uint8x16_t load_quad(const uint8_t q[GROUP_ROWS][4], size_t quarter)
{
    return vld1q_u8(first_prefetches(q[quarter * LANES], quarter));
}

INLINE float32x4_t load_halves(const uint16_t d[GROUP_ROWS], size_t quarter)
{
    return load_f16(first_prefetches(d + quarter * LANES, quarter));
}

INLINE uint8x16_t low_nibbles(uint8x16_t q)
{
    return vandq_u8(q, vdupq_n_u8(15));
}

INLINE uint8x16_t high_nibbles(uint8x16_t q)
{
    return vshrq_n_u8(q, 4);
}

/* dot + w · the quad `lane` of sixteen values of x. The instruction wants a literal: the compiler
 * keeps one case, as the lane is known wherever loops are unrolled. */
INLINE int32x4_t add_quad(int32x4_t dot, uint8x16_t w, const int8_t *x, size_t lane)
{
    int8x16_t weights = vreinterpretq_s8_u8(w), values = vld1q_s8(x);
    switch (lane) {
    case 0:
        return vdotq_laneq_s32(dot, weights, values, 0);
    case 1:
        return vdotq_laneq_s32(dot, weights, values, 1);
    case 2:
        return vdotq_laneq_s32(dot, weights, values, 2);
    default:
        return vdotq_laneq_s32(dot, weights, values, 3);
    }
}

/* total + dot · scale · x's scale. */
INLINE float32x4_t add_scaled(float32x4_t total, int32x4_t dot, float32x4_t scale,
                              const activation_block *x)
{
    return vfmaq_n_f32(total, vmulq_f32(vcvtq_f32_s32(dot), scale), x->scale);
}

/* dot + the 32 products of one block, without a zero point. */
INLINE void dot_nibbles(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t quarter,
                        const char *x, size_t x_stride, size_t block, size_t columns,
                        int32x4_t dot[TILE_COLUMNS])
{
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        uint8x16_t both = load_quad(q[i], quarter);
        uint8x16_t low = low_nibbles(both), high = high_nibbles(both);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q;
            dot[c] = add_quad(dot[c], low, values, i);
            dot[c] = add_quad(dot[c], high, values + BLOCK_COLUMNS / 2, i);
        }
    }
}

/* The bytes of four rows. */
INLINE uint32_t four_bytes(const void *bytes, size_t quarter)
{
    uint32_t four;
    memcpy(&four, first_prefetches((const char *)bytes + quarter * LANES, quarter), sizeof four);
    return four;
}

/* Signed bytes, or unsigned ones of at most seven bits. */
INLINE int32x4_t bytes_to_int(uint32_t four)
{
    return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(four))));
}

/* d · a byte, of four rows. */
INLINE float32x4_t scales_by(const uint16_t d[GROUP_ROWS], int32x4_t bytes, size_t quarter)
{
    return vmulq_f32(load_halves(d, quarter), vcvtq_f32_s32(bytes));
}

INLINE float32x4_t scales_of(const uint16_t d[GROUP_ROWS], const void *bytes, size_t quarter)
{
    return scales_by(d, bytes_to_int(four_bytes(bytes, quarter)), quarter);
}

/* Six-bit numbers as bytes: bits 0–3 of each byte of `low`, bits 4, 5 of `high`'s. */
INLINE int32x4_t six_bit_bytes(uint32_t low, uint32_t high)
{
    return bytes_to_int((low & 0x0f0f0f0fu) | (high & 0x30303030u));
}

/* Bit i of `high` becomes bit 4 beside a nibble. */
INLINE uint8x16_t five_bits(uint8x16_t nibbles, uint8x16_t high, size_t i)
{
    uint8x16_t placed = vshlq_u8(high, vdupq_n_s8((int8_t)(4 - (int)i)));
    return vorrq_u8(nibbles, vandq_u8(placed, vdupq_n_u8(16)));
}

INLINE void dot_five_bits(const five_bit_block *w, size_t quarter, const char *x, size_t x_stride,
                          size_t block, size_t columns, int32x4_t dot[TILE_COLUMNS])
{
    uint8x16_t bits = load_quad(w->high, quarter);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        uint8x16_t both = load_quad(w->low[i], quarter);
        uint8x16_t low = five_bits(low_nibbles(both), bits, i);
        uint8x16_t high = five_bits(high_nibbles(both), bits, i + BLOCK_QUADS / 2);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q;
            dot[c] = add_quad(dot[c], low, values, i);
            dot[c] = add_quad(dot[c], high, values + BLOCK_COLUMNS / 2, i);
        }
    }
}

#endif
