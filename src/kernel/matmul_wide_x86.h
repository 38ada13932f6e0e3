/* matmul_wide_x86.h: products with many columns, for sets of 256-bit registers. Unpacking a record
 * for every few columns takes such a set as long as the products: here records become wide blocks
 * once, which stay in the first-level cache while all columns pass. The order of reduction is that
 * of the packed form, so the same bits come out. Included by
 * matmul_wide_avx2.c and matmul_wide_avxvnni.c, behind tile_avx2.h. */
#include "kernel/tile_x86.h"

/* ---- from records to wide blocks ------------------------------------------------------------ */

INLINE void widen_nibbles(wide_block *wide, const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4])
{
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        two_quads w = nibbles_at(q, i, ASKED_FOR);
        store_quads(wide->q[i], w.low);
        store_quads(wide->q[i + BLOCK_QUADS / 2], w.high);
    }
}

INLINE void widen_five_bits(wide_block *wide, const five_bit_block *block)
{
    quads fifth = load_quads(block->high, ASKED_FOR);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        two_quads w = five_bits_at(block, fifth, i, ASKED_FOR);
        store_quads(wide->q[i], w.low);
        store_quads(wide->q[i + BLOCK_QUADS / 2], w.high);
    }
}

INLINE void widen_looked_up(wide_block *wide, __m128i table,
                            const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4])
{
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        two_quads w = looked_up_at(table, q, i, ASKED_FOR);
        store_quads(wide->q[i], w.low);
        store_quads(wide->q[i + BLOCK_QUADS / 2], w.high);
    }
}

INLINE void widen_scale(wide_block *wide, const uint16_t d[GROUP_ROWS])
{
    store_f32(wide->scale[0], load_halves(d, ASKED_FOR));
}

/* What is added is what a K-quant subtracts: x − (−m) · Σ is x + m · Σ, bit for bit. */
INLINE void widen_offset(wide_block *wide, const uint16_t m[GROUP_ROWS])
{
    store_f32(wide->min, multiply(all_f32(-1), load_halves(m, ASKED_FOR)));
}

INLINE void widen_scale_and_min(wide_block *wide, const super_scales *w, super_factors super,
                                size_t b)
{
    scale_and_min factors = scale_and_min_at(w, super, b, ASKED_FOR);
    store_f32(wide->scale[0], factors.scale);
    store_f32(wide->min, factors.min);
}

INLINE void widen_q8_0(wide_block *wide, const record_q8_0 *w)
{
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        UNROLL for (size_t i = 0; i < BLOCK_QUADS; i++)
            store_quads(wide[b].q[i], byte_weights(load_quads(w->q[b][i], ASKED_FOR)));
        widen_scale(&wide[b], w->d[b]);
    }
}

INLINE void widen_q4_0(wide_block *wide, const record_q4_0 *w)
{
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        widen_nibbles(&wide[b], w->q[b]);
        widen_scale(&wide[b], w->d[b]);
    }
}

INLINE void widen_q4_1(wide_block *wide, const record_q4_1 *w)
{
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        widen_nibbles(&wide[b], w->q[b]);
        widen_scale(&wide[b], w->d[b]);
        widen_offset(&wide[b], w->m[b]);
    }
}

INLINE void widen_q5_0(wide_block *wide, const record_q5_0 *w)
{
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        widen_five_bits(&wide[b], &w->block[b]);
        widen_scale(&wide[b], w->d[b]);
    }
}

INLINE void widen_q5_1(wide_block *wide, const record_q5_1 *w)
{
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        widen_five_bits(&wide[b], &w->block[b]);
        widen_scale(&wide[b], w->d[b]);
        widen_offset(&wide[b], w->m[b]);
    }
}

INLINE void widen_iq4_nl(wide_block *wide, const record_iq4_nl *w)
{
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        widen_looked_up(&wide[b], byte_table(iq4_values), w->q[b]);
        widen_scale(&wide[b], w->d[b]);
    }
}

INLINE void widen_mxfp4(wide_block *wide, const record_mxfp4 *w)
{
    UNROLL for (size_t b = 0; b < FOUR_BLOCKS; b++)
    {
        widen_looked_up(&wide[b], mxfp4_table(), w->q[b]);
        store_f32(wide[b].scale[0], mxfp4_scales(load_bytes_again(w->e[b])));
    }
}

INLINE void widen_q4_k(wide_block *wide, const record_q4_k *w)
{
    super_factors super = load_factors(&w->scales);
    for (size_t pair = 0; pair < K_BLOCKS; pair += 2)
        UNROLL for (size_t b = pair; b < pair + 2; b++)
        {
            widen_nibbles(&wide[b], w->q[b]);
            widen_scale_and_min(&wide[b], &w->scales, super, b);
        }
}

INLINE void widen_q5_k(wide_block *wide, const record_q5_k *w)
{
    super_factors super = load_factors(&w->scales);
    for (size_t pair = 0; pair < K_BLOCKS; pair += 2)
        UNROLL for (size_t b = pair; b < pair + 2; b++)
        {
            widen_five_bits(&wide[b], &w->block[b]);
            widen_scale_and_min(&wide[b], &w->scales, super, b);
        }
}

INLINE void widen_q6_k(wide_block *wide, const record_q6_k *w)
{
    rows_f32 d = load_halves(w->d, ASKED_FOR);
    for (size_t b = 0; b < K_BLOCKS; b++, wide++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            quads high = load_quads(w->block[b].high[half], ASKED_FOR);
            UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++) store_quads(
                wide->q[BLOCK_QUADS / 2 * half + i], load_six_bits(w, b, half, high, i, ASKED_FOR));
            rows_f32 scale = signed_bytes_to_f32(load_bytes(w->scale[b][half], ASKED_FOR));
            store_f32(wide->scale[half], multiply(d, scale));
        }
}

INLINE void widen_iq4_xs(wide_block *wide, const record_iq4_xs *w)
{
    RECORD_ALIGNED int8_t scales[K_BLOCKS][GROUP_ROWS];
    rows_f32 d = load_halves(w->d, ASKED_FOR);
    unpack_scales(w, ASKED_FOR, scales);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        widen_looked_up(&wide[b], byte_table(iq4_values), w->q[b]);
        store_f32(wide[b].scale[0], multiply(d, signed_bytes_to_f32(load_bytes_again(scales[b]))));
    }
}

#define DEFINE_WIDEN(type, blocks)                                                                 \
    static void SET(widen_##type)(wide_block * wide, const void *records, size_t n_records)        \
    {                                                                                              \
        const record_##type *w = records;                                                          \
        for (; n_records > 0; n_records--, w++, wide += (blocks))                                  \
            widen_##type(wide, w);                                                                 \
    }

DEFINE_WIDEN(q8_0, 2)
DEFINE_WIDEN(q4_0, 2)
DEFINE_WIDEN(q4_1, 2)
DEFINE_WIDEN(q5_0, 2)
DEFINE_WIDEN(q5_1, 2)
DEFINE_WIDEN(iq4_nl, 2)
DEFINE_WIDEN(mxfp4, FOUR_BLOCKS)
DEFINE_WIDEN(q4_k, K_BLOCKS)
DEFINE_WIDEN(q5_k, K_BLOCKS)
DEFINE_WIDEN(q6_k, K_BLOCKS)
DEFINE_WIDEN(iq4_xs, K_BLOCKS)

/* ---- products of wide blocks ---------------------------------------------------------------- */

INLINE quads wide_quad(const wide_block *w, size_t i)
{
    return load_quads_at(w->q[i], PREFETCH_NONE);
}

/* Quads [begin, end), of which `together` fit sums of 16 bits. */
INLINE void dot_wide(const wide_block *w, size_t begin, size_t end, size_t together, const char *x,
                     size_t x_stride, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    narrow_sums sums[TILE_COLUMNS];
    UNROLL for (size_t i = begin; i < end; i += 2)
    {
        if (i % together == 0)
            EACH_COLUMN sums[c] = narrow_from(dot[c]);
        add_quads(wide_quad(w, i), i, wide_quad(w, i + 1), i + 1, x, x_stride, 0, columns, sums);
        if ((i + 2) % together == 0)
            EACH_COLUMN dot[c] = widened(dot[c], sums[c]);
    }
}

/* How many quads' sums fit, by the bits of their weights. */
enum { FOUR_BITS_TOGETHER = 8, FIVE_BITS_TOGETHER = 4, SIX_BITS_TOGETHER = 2 };

/* One scale, and a zero point of 8 · `eights` or a minimum. */
INLINE void add_wide(const wide_block *w, size_t together, int eights, bool has_min, const char *x,
                     size_t x_stride, size_t columns, rows_f32 total[TILE_COLUMNS])
{
    rows_i32 dot[TILE_COLUMNS];
    EACH_COLUMN dot[c] = all_i32(eights * block_of(x, x_stride, c, 0)->minus_8_sum);
    dot_wide(w, 0, BLOCK_QUADS, together, x, x_stride, columns, dot);
    scale_and_min factors = {load_f32(w->scale[0]), has_min ? load_f32(w->min) : zero_f32()};
    EACH_COLUMN
    {
        const activation_block *block = block_of(x, x_stride, c, 0);
        total[c] = has_min ? add_with_min(total[c], dot[c], factors, block)
                           : add_scaled(total[c], dot[c], factors.scale, block);
    }
}

#define DEFINE_ADD_WIDE(kind, together, eights, has_min)                                           \
    INLINE void add_wide_##kind(const void *w, const char *x, size_t x_stride, size_t columns,     \
                                rows_f32 total[TILE_COLUMNS])                                      \
    {                                                                                              \
        add_wide(w, together, eights, has_min, x, x_stride, columns, total);                       \
    }

DEFINE_ADD_WIDE(four, FOUR_BITS_TOGETHER, 1, false)
DEFINE_ADD_WIDE(four_min, FOUR_BITS_TOGETHER, 0, true)
DEFINE_ADD_WIDE(five, FIVE_BITS_TOGETHER, 2, false)
DEFINE_ADD_WIDE(five_min, FIVE_BITS_TOGETHER, 0, true)

/* Six bits, a scale for each half. */
INLINE void add_wide_six(const void *wide, const char *x, size_t x_stride, size_t columns,
                         rows_f32 total[TILE_COLUMNS])
{
    const wide_block *w = wide;
    rows_i32 dot[TILE_COLUMNS];
    rows_f32 value[TILE_COLUMNS];
    EACH_COLUMN dot[c] = all_i32(block_of(x, x_stride, c, 0)->minus_32_sum[0]);
    dot_wide(w, 0, BLOCK_QUADS / 2, SIX_BITS_TOGETHER, x, x_stride, columns, dot);
    rows_f32 scale = load_f32(w->scale[0]);
    EACH_COLUMN value[c] = multiply(to_f32(dot[c]), scale);
    EACH_COLUMN dot[c] = all_i32(block_of(x, x_stride, c, 0)->minus_32_sum[1]);
    dot_wide(w, BLOCK_QUADS / 2, BLOCK_QUADS, SIX_BITS_TOGETHER, x, x_stride, columns, dot);
    scale = load_f32(w->scale[1]);
    EACH_COLUMN
    {
        value[c] = multiply_add(to_f32(dot[c]), scale, value[c]);
        total[c] = add_block(total[c], value[c], block_of(x, x_stride, c, 0));
    }
}

INLINE void add_wide_byte(const void *wide, const char *x, size_t x_stride, size_t columns,
                          rows_f32 total[TILE_COLUMNS])
{
    const wide_block *w = wide;
    rows_i32 dot[TILE_COLUMNS];
    EACH_COLUMN dot[c] = byte_start(block_of(x, x_stride, c, 0));
    UNROLL for (size_t i = 0; i < BLOCK_QUADS; i++)
    {
        quads quad = wide_quad(w, i);
        EACH_COLUMN dot[c] = dot_byte(dot[c], quad, block_of(x, x_stride, c, 0)->q + 4 * i);
    }
    rows_f32 scale = load_f32(w->scale[0]);
    EACH_COLUMN total[c] = add_scaled(total[c], dot[c], scale, block_of(x, x_stride, c, 0));
}

/* What is widened next is asked for evenly, over all columns. */
INLINE void tile_wide(add_function *add, const tile_job *job)
{
    size_t records = (job->columns + MOST_COLUMNS - 1) / MOST_COLUMNS * job->n_records;
    size_t lines = (job->next_bytes + PREFETCH_LINE - 1) / PREFETCH_LINE;
    upcoming next = {job->next, job->next + job->next_bytes, (lines + records - 1) / records};
    tile(add, MOST_COLUMNS, sizeof(wide_block), sizeof(activation_block), job, &next);
}

#define DEFINE_WIDE_TILE(kind)                                                                     \
    void SET(tile_wide_##kind)(const tile_job *job)                                                \
    {                                                                                              \
        tile_wide(add_wide_##kind, job);                                                           \
    }

DEFINE_WIDE_TILE(four)
DEFINE_WIDE_TILE(four_min)
DEFINE_WIDE_TILE(five)
DEFINE_WIDE_TILE(five_min)
DEFINE_WIDE_TILE(six)
DEFINE_WIDE_TILE(byte)

/* From how many columns on it pays, by how much unpacking it saves: docs/speed.md. */
enum { LITTLE_UNPACKING = 16, MUCH_UNPACKING = 8 };

const wide_form SET(wide_forms)[PACKED_COUNT] = {
    [PACKED_Q8_0] = {SET(widen_q8_0), SET(tile_wide_byte), LITTLE_UNPACKING},
    [PACKED_Q4_0] = {SET(widen_q4_0), SET(tile_wide_four), LITTLE_UNPACKING},
    [PACKED_Q4_1] = {SET(widen_q4_1), SET(tile_wide_four_min), LITTLE_UNPACKING},
    [PACKED_Q5_0] = {SET(widen_q5_0), SET(tile_wide_five), MUCH_UNPACKING},
    [PACKED_Q5_1] = {SET(widen_q5_1), SET(tile_wide_five_min), MUCH_UNPACKING},
    [PACKED_IQ4_NL] = {SET(widen_iq4_nl), SET(tile_wide_byte), MUCH_UNPACKING},
    [PACKED_MXFP4] = {SET(widen_mxfp4), SET(tile_wide_five), MUCH_UNPACKING},
    [PACKED_Q4_K] = {SET(widen_q4_k), SET(tile_wide_four_min), MUCH_UNPACKING},
    [PACKED_Q5_K] = {SET(widen_q5_k), SET(tile_wide_five_min), MUCH_UNPACKING},
    [PACKED_Q6_K] = {SET(widen_q6_k), SET(tile_wide_six), MUCH_UNPACKING},
    [PACKED_IQ4_XS] = {SET(widen_iq4_xs), SET(tile_wide_byte), MUCH_UNPACKING},
};
