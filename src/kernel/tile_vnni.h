/* tile_vnni.h: what instruction sets with vpdpbusd share, whatever their registers' width: the dot
 * products made of dot_quad. Included only by tile_avx512.h and tile_avx2.h, behind it. */
#ifndef KERNEL_TILE_VNNI_H
#define KERNEL_TILE_VNNI_H

/* dot + w0 · x0 + w1 · x1, weights of at most six bits. */
INLINE rows_i32 dot_two(rows_i32 dot, quads w0, const int8_t *x0, quads w1, const int8_t *x1)
{
    return dot_quad(dot_quad(dot, w0, x0), w1, x1);
}

/* What other sets keep in 16 bits for as long as it fits needs no form of its own. */
typedef rows_i32 narrow_sums;

INLINE narrow_sums narrow_from(rows_i32 dot)
{
    return dot;
}

INLINE narrow_sums add_narrow(narrow_sums sums, quads w, const int8_t *x)
{
    return dot_quad(sums, w, x);
}

INLINE rows_i32 widened(rows_i32 dot, narrow_sums sums)
{
    (void)dot;
    return sums;
}

/* Weights of eight bits are unsigned with a zero point of 128: what dot_byte takes, from the packed
 * bytes and from a table of signed ones; and what its sums start from. */
INLINE quads byte_weights(quads packed)
{
    return packed;
}

INLINE __m128i byte_table(const int8_t values[16])
{
    __m128i table = _mm_loadu_si128((const __m128i *)(const void *)values);
    return _mm_xor_si128(table, _mm_set1_epi8(-128));
}

INLINE rows_i32 byte_start(const activation_block *x)
{
    return all_i32(x->minus_128_sum);
}

INLINE rows_i32 dot_byte(rows_i32 dot, quads w, const int8_t *x)
{
    return dot_quad(dot, w, x);
}

#endif
