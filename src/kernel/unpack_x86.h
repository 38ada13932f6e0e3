/* unpack_x86.h: quads, scales and minima out of records of quantised types, for products of packed
 * records (matmul_integer_x86.h, matmul_rare_x86.h) and for what makes wide blocks of them
 * (matmul_wide_x86.h). Included behind tile_avx512.h or tile_avx2.h. */
#ifndef KERNEL_UNPACK_X86_H
#define KERNEL_UNPACK_X86_H

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

/* ---- quads --------------------------------------------------------------------------------- */

INLINE quads low_nibbles(quads q)
{
    return and_bytes(q, 15);
}

INLINE quads high_nibbles(quads q)
{
    return and_bytes(shift(q, -4), 15);
}

/* Quads i and i + 4 of a block. */
typedef struct two_quads {
    quads low, high;
} two_quads;

INLINE two_quads nibbles_at(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t i,
                            size_t columns)
{
    quads both = load_quads(q[i], columns);
    return (two_quads){low_nibbles(both), high_nibbles(both)};
}

/* Bit i of `high` becomes bit 4 beside a nibble. */
INLINE quads five_bits(quads nibbles, quads high, int i)
{
    return or_quads(nibbles, and_bytes(shift(high, 4 - i), 16));
}

INLINE two_quads five_bits_at(const five_bit_block *w, quads fifth, size_t i, size_t columns)
{
    two_quads four = nibbles_at(w->low, i, columns);
    return (two_quads){five_bits(four.low, fifth, (int)i), five_bits(four.high, fifth, (int)i + 4)};
}

/* Bits 2i, 2i + 1 of `high` become bits 4, 5 beside a nibble. */
INLINE quads six_bits(quads nibbles, quads high, int i)
{
    return or_quads(nibbles, and_bytes(shift(high, 4 - 2 * i), 0x30));
}

/* The low bits of both halves share a line: the first half asks for it. */
INLINE quads load_six_bits(const record_q6_k *w, size_t block, size_t half, quads high, size_t i,
                           size_t columns)
{
    quads both =
        load_quads_at(w->block[block].low[i], half == 0 ? prefetch_ahead(columns) : PREFETCH_NONE);
    return six_bits(half == 0 ? low_nibbles(both) : high_nibbles(both), high, (int)i);
}

/* The nibbles' values come from a table of bytes. */
INLINE two_quads looked_up_at(__m128i table, const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4],
                              size_t i, size_t columns)
{
    quads both = load_quads(q[i], columns);
    return (two_quads){look_up(table, both), look_up(table, shift(both, -4))};
}

/* As mxfp4_scale of internal.h: half of 2^(e − 127), which as a float of exponent e is zero for the
 * lowest e and infinite for the highest. ∞ · 0 is no number. */
INLINE rows_f32 mxfp4_scales(__m128i e)
{
    rows_f32 whole = as_f32(shift(bytes_to_i32(e), 23));
    rows_f32 half = multiply_add(whole, all_f32(0.5f), multiply(whole, zero_f32()));
    return larger_f32(all_f32(0x1p-128f), half);
}

/* With a zero point of 16: five bits. */
INLINE __m128i mxfp4_table(void)
{
    __m128i table = _mm_loadu_si128((const __m128i *)(const void *)mxfp4_values);
    return _mm_add_epi8(table, _mm_set1_epi8(16));
}

/* ---- scales -------------------------------------------------------------------------------- */

/* Six-bit numbers as bytes: bits 0–3 of `low`, bits 4, 5 of `high`. */
INLINE __m128i six_bit_bytes(__m128i low, __m128i high)
{
    return _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)),
                        _mm_and_si128(high, _mm_set1_epi8(0x30)));
}

/* The scales of a Q4_K or Q5_K record, wanted by each of its blocks. */
typedef struct super_factors {
    rows_f32 d, dmin;
} super_factors;

INLINE super_factors load_factors(const super_scales *w)
{
    return (super_factors){load_f16(w->d), load_f16(w->dmin)};
}

/* A block's scale and minimum. */
typedef struct scale_and_min {
    rows_f32 scale, min;
} scale_and_min;

INLINE scale_and_min scale_and_min_at(const super_scales *w, super_factors super, size_t b,
                                      size_t columns)
{
    if (b % 2 == 0) /* four lines and four pairs of blocks: each pair asks for one */
        with_prefetch_at((const char *)w + b / 2 * RECORD_ALIGNMENT, prefetch_ahead(columns));
    __m128i low = load_bytes_again(w->low[b]), high = load_bytes_again(w->high[b / 2]);
    high = b % 2 == 0 ? _mm_slli_epi16(high, 4) : high;
    __m128i scales = six_bit_bytes(low, high);
    __m128i mins = six_bit_bytes(_mm_srli_epi16(low, 4), _mm_srli_epi16(high, 2));
    return (scale_and_min){multiply(super.d, signed_bytes_to_f32(scales)),
                           multiply(super.dmin, signed_bytes_to_f32(mins))};
}

/* The scales of two blocks, as bytes: low nibbles of `low`, and two bits that `high` has at bits 4
 * and 5. */
INLINE void store_scale_pair(int8_t scale[2][GROUP_ROWS], __m256i low, __m256i high)
{
    low = _mm256_and_si256(low, _mm256_set1_epi8(15));
    high = _mm256_and_si256(high, _mm256_set1_epi8(0x30));
    __m256i signed_ones = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
    _mm256_store_si256((__m256i *)(void *)scale, signed_ones);
}

/* All at once, and by way of memory: a few instructions a record instead of some for each block. */
INLINE void unpack_scales(const record_iq4_xs *w, size_t columns,
                          int8_t scale[K_BLOCKS][GROUP_ROWS])
{
    const __m256i *lows = with_prefetch_at(w->scale_low, prefetch_ahead(columns));
    __m256i high = _mm256_load_si256((const __m256i *)(const void *)w->scale_high);
    __m256i first = _mm256_load_si256(lows), second = _mm256_load_si256(lows + 1);
    store_scale_pair(scale, first, _mm256_slli_epi16(high, 4));
    store_scale_pair(scale + 2, _mm256_srli_epi16(first, 4), _mm256_slli_epi16(high, 2));
    store_scale_pair(scale + 4, second, high);
    store_scale_pair(scale + 6, _mm256_srli_epi16(second, 4), _mm256_srli_epi16(high, 2));
}

#endif
