/* matmul_integer_x86.h: the products of Q8_0, Q4_0, Q4_K, Q5_K and Q6_K, out of what tile_avx512.h
 * or tile_avx2.h provides: one body for all x86 sets. */
#include "kernel/tile_x86.h"

/* ---- blocks of 32 --------------------------------------------------------------------------- */

/* Bytes alone need no unpacking: one column leaves the hardware's own prefetch room to work, and up
 * to five ask less far ahead than types of nibbles, which leaves more of the first-level cache to
 * the activations, or for nothing. See docs/speed.md. */
INLINE size_t prefetch_q8_0(size_t columns)
{
    if (columns == 1)
        return PREFETCH_NONE;
    return columns <= 5 ? prefetch.few_of_bytes : prefetch.several;
}

INLINE void add_q8_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q8_0 *w = record;
    const size_t ahead = prefetch_q8_0(columns);
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = byte_start(block_of(x, x_stride, c, b));
        UNROLL for (size_t i = 0; i < BLOCK_QUADS; i++)
        {
            quads quad = byte_weights(load_quads_at(w->q[b][i], ahead));
            EACH_COLUMN dot[c] = dot_byte(dot[c], quad, block_of(x, x_stride, c, b)->q + 4 * i);
        }
        rows_f32 d = load_halves_at(w->d[b], ahead);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

INLINE void add_q4_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q4_0 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = all_i32(block_of(x, x_stride, c, b)->minus_8_sum);
        dot_nibbles(w->q[b], x, x_stride, b, columns, dot);
        rows_f32 d = load_halves(w->d[b], columns);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

/* ---- super-blocks --------------------------------------------------------------------------- */

INLINE void add_q4_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q4_k *w = record;
    super_factors super = load_factors(&w->scales);
    for (size_t pair = 0; pair < K_BLOCKS; pair += 2)
        UNROLL for (size_t b = pair; b < pair + 2; b++)
        {
            rows_i32 dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = all_i32(0);
            dot_nibbles(w->q[b], x, x_stride, b, columns, dot);
            scale_and_min factors = scale_and_min_at(&w->scales, super, b, columns);
            EACH_COLUMN total[c] =
                add_with_min(total[c], dot[c], factors, block_of(x, x_stride, c, b));
        }
}

INLINE void add_q5_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q5_k *w = record;
    super_factors super = load_factors(&w->scales);
    for (size_t pair = 0; pair < K_BLOCKS; pair += 2)
        UNROLL for (size_t b = pair; b < pair + 2; b++)
        {
            rows_i32 dot[TILE_COLUMNS];
            EACH_COLUMN dot[c] = all_i32(0);
            dot_five_bits(&w->block[b], x, x_stride, b, columns, dot);
            scale_and_min factors = scale_and_min_at(&w->scales, super, b, columns);
            EACH_COLUMN total[c] =
                add_with_min(total[c], dot[c], factors, block_of(x, x_stride, c, b));
        }
}

/* The sixteen products of a half block, its zero point included. */
INLINE void dot_six_bits(const record_q6_k *w, const char *x, size_t x_stride, size_t block,
                         size_t half, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    quads high = load_quads(w->block[block].high[half], columns);
    EACH_COLUMN dot[c] = all_i32(block_of(x, x_stride, c, block)->minus_32_sum[half]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i += 2)
    {
        quads even = load_six_bits(w, block, half, high, i, columns);
        quads odd = load_six_bits(w, block, half, high, i + 1, columns);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 16 * half + 4 * i;
            dot[c] = dot_two(dot[c], even, values, odd, values + 4);
        }
    }
}

INLINE void add_q6_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q6_k *w = record;
    rows_f32 d = load_halves(w->d, columns);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        rows_i32 dot[TILE_COLUMNS];
        rows_f32 value[TILE_COLUMNS];
        dot_six_bits(w, x, x_stride, b, 0, columns, dot);
        rows_f32 scale = multiply(d, signed_bytes_to_f32(load_bytes(w->scale[b][0], columns)));
        EACH_COLUMN value[c] = multiply(to_f32(dot[c]), scale);
        dot_six_bits(w, x, x_stride, b, 1, columns, dot);
        scale = multiply(d, signed_bytes_to_f32(load_bytes(w->scale[b][1], columns)));
        EACH_COLUMN
        {
            value[c] = multiply_add(to_f32(dot[c]), scale, value[c]);
            total[c] = add_block(total[c], value[c], block_of(x, x_stride, c, b));
        }
    }
}

DEFINE_TILE(q8_0, add_q8_0, MOST_COLUMNS, record_q8_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_0, add_q4_0, MOST_COLUMNS, record_q4_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_k, add_q4_k, MOST_COLUMNS, record_q4_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q5_k, add_q5_k, MOST_COLUMNS, record_q5_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q6_k, add_q6_k, MOST_COLUMNS, record_q6_k, K_BLOCKS * sizeof(activation_block))
