/* tile_x86.h: what matmul_integer_x86.h and matmul_rare_x86.h share. */
#ifndef KERNEL_TILE_X86_H
#define KERNEL_TILE_X86_H

#include "kernel/unpack_x86.h"

/* total += value · x's scale. */
INLINE rows_f32 add_block(rows_f32 total, rows_f32 value, const activation_block *x)
{
    return multiply_add(value, all_f32(x->scale), total);
}

/* total += dot · scale · x's scale. */
INLINE rows_f32 add_scaled(rows_f32 total, rows_i32 dot, rows_f32 scale, const activation_block *x)
{
    return add_block(total, multiply(to_f32(dot), scale), x);
}

/* Quads i and j of a block, of every column. */
INLINE void add_quads(quads first, size_t i, quads second, size_t j, const char *x, size_t x_stride,
                      size_t block, size_t columns, narrow_sums sums[TILE_COLUMNS])
{
    EACH_COLUMN
    {
        const int8_t *values = block_of(x, x_stride, c, block)->q;
        sums[c] = add_narrow(sums[c], first, values + 4 * i);
        sums[c] = add_narrow(sums[c], second, values + 4 * j);
    }
}

/* total += (dot · scale − min · Σx) · x's scale. */
INLINE rows_f32 add_with_min(rows_f32 total, rows_i32 dot, scale_and_min w,
                             const activation_block *x)
{
    rows_f32 value = multiply(to_f32(dot), w.scale);
    return add_block(total, multiply_subtract(w.min, all_f32(x->sum), value), x);
}

INLINE void dot_nibbles(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], const char *x,
                        size_t x_stride, size_t block, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    narrow_sums sums[TILE_COLUMNS];
    EACH_COLUMN sums[c] = narrow_from(dot[c]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        two_quads w = nibbles_at(q, i, columns);
        add_quads(w.low, i, w.high, i + BLOCK_QUADS / 2, x, x_stride, block, columns, sums);
    }
    EACH_COLUMN dot[c] = widened(dot[c], sums[c]);
}

INLINE void dot_five_bits(const five_bit_block *w, const char *x, size_t x_stride, size_t block,
                          size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    quads fifth = load_quads(w->high, columns);
    narrow_sums sums[TILE_COLUMNS];
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        two_quads five = five_bits_at(w, fifth, i, columns);
        if (i % 2 == 0)
            EACH_COLUMN sums[c] = narrow_from(dot[c]);
        add_quads(five.low, i, five.high, i + BLOCK_QUADS / 2, x, x_stride, block, columns, sums);
        if (i % 2 == 1)
            EACH_COLUMN dot[c] = widened(dot[c], sums[c]);
    }
}

#endif
