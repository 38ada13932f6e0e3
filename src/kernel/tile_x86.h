/* tile_x86.h: what matmul_integer_x86.h and matmul_rare_x86.h share. */
#ifndef KERNEL_TILE_X86_H
#define KERNEL_TILE_X86_H

INLINE quads load_quads(const uint8_t q[GROUP_ROWS][4], size_t columns)
{
    return load_quads_at(q, prefetch_ahead(columns));
}

INLINE rows_f32 load_halves_at(const uint16_t d[GROUP_ROWS], size_t ahead)
{
    return load_f16(with_prefetch_at(d, ahead));
}

INLINE rows_f32 load_halves(const uint16_t d[GROUP_ROWS], size_t columns)
{
    return load_halves_at(d, prefetch_ahead(columns));
}

INLINE __m128i load_bytes(const void *bytes, size_t columns)
{
    return _mm_load_si128(with_prefetch_at(bytes, prefetch_ahead(columns)));
}

/* What lies in a line that is asked for elsewhere. */
INLINE __m128i load_bytes_again(const void *bytes)
{
    return _mm_load_si128(bytes);
}

/* Six-bit numbers as bytes: bits 0–3 of `low`, bits 4, 5 of `high`. */
INLINE __m128i six_bit_bytes(__m128i low, __m128i high)
{
    return _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)),
                        _mm_and_si128(high, _mm_set1_epi8(0x30)));
}

INLINE quads low_nibbles(quads q)
{
    return and_bytes(q, 15);
}

INLINE quads high_nibbles(quads q)
{
    return and_bytes(shift(q, -4), 15);
}

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

INLINE void dot_nibbles(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], const char *x,
                        size_t x_stride, size_t block, size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    narrow_sums sums[TILE_COLUMNS];
    EACH_COLUMN sums[c] = narrow_from(dot[c]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        quads both = load_quads(q[i], columns), low = low_nibbles(both), high = high_nibbles(both);
        add_quads(low, i, high, i + BLOCK_QUADS / 2, x, x_stride, block, columns, sums);
    }
    EACH_COLUMN dot[c] = widened(dot[c], sums[c]);
}

/* Bit i of `high` becomes bit 4 beside a nibble. */
INLINE quads five_bits(quads nibbles, quads high, int i)
{
    return or_quads(nibbles, and_bytes(shift(high, 4 - i), 16));
}

INLINE void dot_five_bits(const five_bit_block *w, const char *x, size_t x_stride, size_t block,
                          size_t columns, rows_i32 dot[TILE_COLUMNS])
{
    quads fifth = load_quads(w->high, columns);
    narrow_sums sums[TILE_COLUMNS];
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        quads both = load_quads(w->low[i], columns);
        quads low = five_bits(low_nibbles(both), fifth, (int)i);
        quads high = five_bits(high_nibbles(both), fifth, (int)i + 4);
        if (i % 2 == 0)
            EACH_COLUMN sums[c] = narrow_from(dot[c]);
        add_quads(low, i, high, i + BLOCK_QUADS / 2, x, x_stride, block, columns, sums);
        if (i % 2 == 1)
            EACH_COLUMN dot[c] = widened(dot[c], sums[c]);
    }
}

#endif
