/* tile_avx512.h: what the bodies in matmul_*_x86.h are made of, for AVX-512 with VNNI: one register
 * holds a value of each of the sixteen rows, and vpdpbusd multiplies a quad of them with a
 * broadcast quad of the activation. No lane ever meets another, so no row's sum needs a horizontal
 * step. Included only by matmul_avx512.c and matmul_rare_avx512.c. */
#ifndef KERNEL_TILE_AVX512_H
#define KERNEL_TILE_AVX512_H

#include "kernel/internal.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/prefetch.h"

#define SET(name) avx512_##name

/* Columns at once: 8 integer and 8 float sums of 32 registers. */
enum { MOST_COLUMNS = 8, MOST_FLOAT_COLUMNS = 8 };

typedef __m512 rows_f32;
typedef __m512i rows_i32;
typedef __m512i quads; /* a quad of unsigned bytes of each row */

/* ---- floats --------------------------------------------------------------------------------- */

INLINE rows_f32 zero_f32(void)
{
    return _mm512_setzero_ps();
}

INLINE void store_f32(float *y, rows_f32 a)
{
    _mm512_storeu_ps(y, a);
}

INLINE rows_f32 load_sums(const float *y)
{
    return _mm512_loadu_ps(y);
}

INLINE rows_f32 all_f32(float a)
{
    return _mm512_set1_ps(a);
}

INLINE rows_f32 add_f32(rows_f32 a, rows_f32 b)
{
    return _mm512_add_ps(a, b);
}

INLINE rows_f32 multiply(rows_f32 a, rows_f32 b)
{
    return _mm512_mul_ps(a, b);
}

/* a · b + sum */
INLINE rows_f32 multiply_add(rows_f32 a, rows_f32 b, rows_f32 sum)
{
    return _mm512_fmadd_ps(a, b, sum);
}

/* sum − a · b */
INLINE rows_f32 multiply_subtract(rows_f32 a, rows_f32 b, rows_f32 sum)
{
    return _mm512_fnmadd_ps(a, b, sum);
}

INLINE rows_f32 load_f32(const float *w)
{
    return _mm512_load_ps(with_prefetch(w));
}

INLINE rows_f32 load_f16(const uint16_t *w)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(const void *)w));
}

INLINE rows_f32 load_bf16(const uint16_t *w)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)(const void *)w));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

INLINE rows_f32 signed_bytes_to_f32(__m128i bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* b where either is no number. */
INLINE rows_f32 larger_f32(rows_f32 a, rows_f32 b)
{
    return _mm512_max_ps(a, b);
}

/* The same bits. */
INLINE rows_f32 as_f32(rows_i32 bits)
{
    return _mm512_castsi512_ps(bits);
}

/* ---- weights -------------------------------------------------------------------------------- */

INLINE quads load_quads_at(const uint8_t q[GROUP_ROWS][4], size_t ahead)
{
    quads loaded = _mm512_loadu_si512(with_prefetch_at(q, ahead)); /* HALF_LINE_ALIGNED */
    __asm__("" : "+v"(loaded)); /* or each use would load it again, where broadcasts are loaded */
    return loaded;
}

INLINE quads and_bytes(quads q, int mask)
{
    return _mm512_and_si512(q, _mm512_set1_epi8((char)mask));
}

INLINE quads or_quads(quads a, quads b)
{
    return _mm512_or_si512(a, b);
}

/* To the left by `n` bits, to the right by −n; bits of a byte's neighbours come with it. */
INLINE quads shift(quads q, int n)
{
    __v16su lanes = (__v16su)q;
    return (quads)(n < 0 ? lanes >> -n : lanes << n);
}

INLINE quads and_words(quads q, int mask)
{
    return _mm512_and_si512(q, _mm512_set1_epi16((short)mask));
}

/* Unsigned bytes. */
INLINE rows_i32 bytes_to_i32(__m128i bytes)
{
    return _mm512_cvtepu8_epi32(bytes);
}

/* ---- dot products --------------------------------------------------------------------------- */

INLINE rows_i32 all_i32(int32_t a)
{
    return _mm512_set1_epi32(a);
}

INLINE rows_f32 to_f32(rows_i32 a)
{
    return _mm512_cvtepi32_ps(a);
}

INLINE rows_i32 dot_quad(rows_i32 dot, quads w, const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm512_dpbusd_epi32(dot, w, _mm512_set1_epi32(quad));
}

#include "kernel/tile_vnni.h"

/* Pairs of 16-bit numbers: those of two half blocks. */
INLINE rows_i32 pairs_of(rows_i32 first, rows_i32 second)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, first, _mm512_slli_epi32(second, 16));
}

INLINE rows_i32 subtract_pairs(rows_i32 a, rows_i32 b)
{
    return _mm512_sub_epi16(a, b);
}

INLINE rows_i32 dot_pairs(rows_i32 a, rows_i32 b)
{
    return _mm512_madd_epi16(a, b);
}

/* The sixteen bytes, looked up by the lower nibble of each byte: vpermb takes six bits, which four
 * times the same table makes four. */
INLINE quads look_up(__m128i table, quads q)
{
    return _mm512_permutexvar_epi8(q, _mm512_broadcast_i32x4(table));
}

#include "kernel/tile.h"

#endif
