/* matmul_rare_x86.h: the products of the types fewer models use: Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4,
 * Q2_K, Q3_K and IQ4_XS, as matmul_integer_x86.h. */
#include "kernel/tile_x86.h"

/* ---- blocks of 32 --------------------------------------------------------------------------- */

/* total += (dot · scale + min · Σx) · x's scale. */
INLINE rows_f32 add_offset(rows_f32 total, rows_i32 dot, rows_f32 scale, rows_f32 min,
                           const activation_block *x)
{
    rows_f32 value = multiply(to_f32(dot), scale);
    value = multiply_add(min, all_f32(x->sum), value);
    return add_block(total, value, x);
}

INLINE void add_q4_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q4_1 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = all_i32(0);
        dot_nibbles(w->q[b], x, x_stride, b, columns, dot);
        rows_f32 d = load_halves(w->d[b], columns), m = load_halves(w->m[b], columns);
        EACH_COLUMN total[c] = add_offset(total[c], dot[c], d, m, block_of(x, x_stride, c, b));
    }
}

INLINE void add_q5_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q5_0 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = all_i32(2 * block_of(x, x_stride, c, b)->minus_8_sum);
        dot_five_bits(&w->block[b], x, x_stride, b, columns, dot);
        rows_f32 d = load_halves(w->d[b], columns);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

INLINE void add_q5_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q5_1 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = all_i32(0);
        dot_five_bits(&w->block[b], x, x_stride, b, columns, dot);
        rows_f32 d = load_halves(w->d[b], columns), m = load_halves(w->m[b], columns);
        EACH_COLUMN total[c] = add_offset(total[c], dot[c], d, m, block_of(x, x_stride, c, b));
    }
}

INLINE void dot_iq4(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], const char *x, size_t x_stride,
                    size_t block, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    __m128i table = byte_table(iq4_values);
    EACH_COLUMN dot[c] = byte_start(block_of(x, x_stride, c, block));
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        two_quads w = looked_up_at(table, q, i, columns);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            dot[c] = dot_byte(dot[c], w.low, values);
            dot[c] = dot_byte(dot[c], w.high, values + BLOCK_COLUMNS / 2);
        }
    }
}

INLINE void add_iq4_nl(const void *record, const char *x, size_t x_stride, size_t columns,
                       rows_f32 total[TILE_COLUMNS])
{
    const record_iq4_nl *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        dot_iq4(w->q[b], x, x_stride, b, columns, dot);
        rows_f32 d = load_halves(w->d[b], columns);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

INLINE void add_mxfp4(const void *record, const char *x, size_t x_stride, size_t columns,
                      rows_f32 total[TILE_COLUMNS])
{
    const record_mxfp4 *w = record;
    __m128i table = mxfp4_table();
    UNROLL for (size_t b = 0; b < FOUR_BLOCKS; b++)
    {
        rows_i32 dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = all_i32(2 * block_of(x, x_stride, c, b)->minus_8_sum);
        narrow_sums sums[TILE_COLUMNS];
        UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
        {
            two_quads five = looked_up_at(table, w->q[b], i, columns);
            if (i % 2 == 0)
                EACH_COLUMN sums[c] = narrow_from(dot[c]);
            add_quads(five.low, i, five.high, i + BLOCK_QUADS / 2, x, x_stride, b, columns, sums);
            if (i % 2 == 1)
                EACH_COLUMN dot[c] = widened(dot[c], sums[c]);
        }
        /* They share a line. */
        const size_t ahead = b == 0 ? prefetch_ahead(columns) : PREFETCH_NONE;
        rows_f32 d = mxfp4_scales(_mm_load_si128(with_prefetch_at(w->e[b], ahead)));
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

/* ---- super-blocks --------------------------------------------------------------------------- */

INLINE void add_iq4_xs(const void *record, const char *x, size_t x_stride, size_t columns,
                       rows_f32 total[TILE_COLUMNS])
{
    const record_iq4_xs *w = record;
    RECORD_ALIGNED int8_t scales[K_BLOCKS][GROUP_ROWS];
    rows_f32 d = load_halves(w->d, columns);
    unpack_scales(w, columns, scales);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        rows_i32 dot[TILE_COLUMNS];
        dot_iq4(w->q[b], x, x_stride, b, columns, dot);
        rows_f32 scale = multiply(d, signed_bytes_to_f32(load_bytes_again(scales[b])));
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], scale, block_of(x, x_stride, c, b));
    }
}

/* Bits 2i and 2i + 1. */
INLINE quads two_bits(quads q, int i)
{
    return and_bytes(shift(q, -2 * i), 3);
}

/* What an activation keeps of its two half blocks. */
INLINE rows_i32 all_pairs(const int16_t pair[2])
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return all_i32(both);
}

/* The sixteen products of half a block. */
INLINE void dot_two_bits(const record_q2_k *w, const char *x, size_t x_stride, size_t block,
                         size_t half, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    quads q = load_quads(w->q[block][half], columns);
    narrow_sums sums[TILE_COLUMNS];
    EACH_COLUMN sums[c] = narrow_from(all_i32(0));
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i += 2)
        add_quads(two_bits(q, (int)i), 4 * half + i, two_bits(q, (int)i + 1), 4 * half + i + 1, x,
                  x_stride, block, columns, sums);
    EACH_COLUMN dot[c] = widened(all_i32(0), sums[c]);
}

INLINE void add_q2_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q2_k *w = record;
    rows_f32 d = load_halves(w->d, columns), dmin = load_halves(w->dmin, columns);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        rows_i32 first[TILE_COLUMNS], second[TILE_COLUMNS];
        dot_two_bits(w, x, x_stride, b, 0, columns, first);
        dot_two_bits(w, x, x_stride, b, 1, columns, second);
        rows_i32 both = or_quads(bytes_to_i32(load_bytes(w->scale_min[b][0], columns)),
                                 shift(bytes_to_i32(load_bytes(w->scale_min[b][1], columns)), 16));
        rows_i32 scale = and_words(both, 15), min = and_words(shift(both, -4), 15);
        EACH_COLUMN
        {
            const activation_block *block = block_of(x, x_stride, c, b);
            rows_i32 dot = dot_pairs(scale, pairs_of(first[c], second[c]));
            rows_f32 value = multiply(to_f32(dot), d);
            rows_i32 offset = dot_pairs(min, all_pairs(block->half_sum));
            value = multiply_subtract(to_f32(offset), dmin, value);
            total[c] = add_block(total[c], value, block);
        }
    }
}

/* Bit i of `high` becomes bit 2 beside two bits. */
INLINE quads three_bits(quads low, quads high, int i)
{
    return or_quads(low, and_bytes(shift(high, 2 - i), 4));
}

/* Both half blocks' scales. */
INLINE rows_i32 scales_q3_k(const record_q3_k *w, size_t pair, int odd, size_t columns)
{
    rows_i32 low = bytes_to_i32(load_bytes(w->scale_low[2 * pair + (size_t)odd], columns));
    rows_i32 high = bytes_to_i32(load_bytes(w->scale_high[pair], columns));
    low = and_words(or_quads(low, shift(low, 12)), 15);
    high = and_words(or_quads(shift(high, 4 - 4 * odd), shift(high, 18 - 4 * odd)), 0x30);
    return subtract_pairs(or_quads(low, high), all_i32(32 << 16 | 32));
}

/* The sixteen products of half a block, without its zero point. */
INLINE void dot_three_bits(const record_q3_k *w, quads third, const char *x, size_t x_stride,
                           size_t block, size_t half, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    quads low = load_quads(w->block[block].low[half], columns);
    narrow_sums sums[TILE_COLUMNS];
    EACH_COLUMN sums[c] = narrow_from(all_i32(0));
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i += 2)
    {
        size_t at = 4 * half + i;
        quads even = three_bits(two_bits(low, (int)i), third, (int)at);
        quads odd = three_bits(two_bits(low, (int)i + 1), third, (int)at + 1);
        add_quads(even, at, odd, at + 1, x, x_stride, block, columns, sums);
    }
    EACH_COLUMN dot[c] = widened(all_i32(0), sums[c]);
}

INLINE void add_q3_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     rows_f32 total[TILE_COLUMNS])
{
    const record_q3_k *w = record;
    rows_f32 d = load_halves(w->d, columns);
    for (size_t pair = 0; pair < K_BLOCKS / 2; pair++)
        UNROLL for (int odd = 0; odd < 2; odd++)
        {
            size_t b = 2 * pair + (size_t)odd;
            rows_i32 first[TILE_COLUMNS], second[TILE_COLUMNS];
            quads third = load_quads(w->block[b].high, columns);
            dot_three_bits(w, third, x, x_stride, b, 0, columns, first);
            dot_three_bits(w, third, x, x_stride, b, 1, columns, second);
            rows_i32 scale = scales_q3_k(w, pair, odd, columns);
            EACH_COLUMN
            {
                const activation_block *block = block_of(x, x_stride, c, b);
                rows_i32 halves = pairs_of(first[c], second[c]);
                halves = subtract_pairs(halves, all_pairs(block->half_sum_4));
                total[c] = add_scaled(total[c], dot_pairs(scale, halves), d, block);
            }
        }
}

DEFINE_TILE(q4_1, add_q4_1, MOST_COLUMNS, record_q4_1, 2 * sizeof(activation_block))
DEFINE_TILE(q5_0, add_q5_0, MOST_COLUMNS, record_q5_0, 2 * sizeof(activation_block))
DEFINE_TILE(q5_1, add_q5_1, MOST_COLUMNS, record_q5_1, 2 * sizeof(activation_block))
DEFINE_TILE(iq4_nl, add_iq4_nl, MOST_COLUMNS, record_iq4_nl, 2 * sizeof(activation_block))
DEFINE_TILE(mxfp4, add_mxfp4, MOST_COLUMNS, record_mxfp4, FOUR_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q2_k, add_q2_k, MOST_COLUMNS, record_q2_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q3_k, add_q3_k, MOST_COLUMNS, record_q3_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(iq4_xs, add_iq4_xs, MOST_COLUMNS, record_iq4_xs, K_BLOCKS * sizeof(activation_block))
