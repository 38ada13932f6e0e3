/* tile_avx2.h: what the bodies in matmul_*_x86.h are made of, for AVX2: two registers, of eight
 * rows each, hold what one does in tile_avx512.h. The dot products alone are done in two ways, so
 * two sets are made of this file: "avx2", and "avxvnni" where the compiler may use AVX-VNNI.
 * Included only by matmul_*avx2.c and matmul_avxvnni.c. */
#ifndef KERNEL_TILE_AVX2_H
#define KERNEL_TILE_AVX2_H

#include "kernel/internal.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/prefetch.h"

#if defined(__AVXVNNI__)
#define SET(name) avxvnni_##name
#else
#define SET(name) avx2_##name
#endif

/* Columns at once. Of sixteen registers four columns' integer sums take eight and four hold
 * weights; the float sums wait in memory. Of float products each column has four sums. */
enum { MOST_COLUMNS = 4, MOST_FLOAT_COLUMNS = 3, HALF_ROWS = GROUP_ROWS / 2 };

typedef struct rows_f32 { /* rows 0–7, rows 8–15 */
    __m256 half[2];
} rows_f32;

typedef struct rows_i32 {
    __m256i half[2];
} rows_i32;

typedef rows_i32 quads; /* a quad of unsigned bytes of each row */

/* ---- floats --------------------------------------------------------------------------------- */

INLINE rows_f32 all_f32(float a)
{
    return (rows_f32){{_mm256_set1_ps(a), _mm256_set1_ps(a)}};
}

INLINE rows_f32 zero_f32(void)
{
    return all_f32(0);
}

INLINE void store_f32(float *y, rows_f32 a)
{
    _mm256_storeu_ps(y, a.half[0]);
    _mm256_storeu_ps(y + HALF_ROWS, a.half[1]);
}

INLINE rows_f32 load_sums(const float *y)
{
    return (rows_f32){{_mm256_loadu_ps(y), _mm256_loadu_ps(y + HALF_ROWS)}};
}

INLINE rows_f32 add_f32(rows_f32 a, rows_f32 b)
{
    return (rows_f32){{_mm256_add_ps(a.half[0], b.half[0]), _mm256_add_ps(a.half[1], b.half[1])}};
}

INLINE rows_f32 multiply(rows_f32 a, rows_f32 b)
{
    return (rows_f32){{_mm256_mul_ps(a.half[0], b.half[0]), _mm256_mul_ps(a.half[1], b.half[1])}};
}

/* a · b + sum */
INLINE rows_f32 multiply_add(rows_f32 a, rows_f32 b, rows_f32 sum)
{
    return (rows_f32){{_mm256_fmadd_ps(a.half[0], b.half[0], sum.half[0]),
                       _mm256_fmadd_ps(a.half[1], b.half[1], sum.half[1])}};
}

/* sum − a · b */
INLINE rows_f32 multiply_subtract(rows_f32 a, rows_f32 b, rows_f32 sum)
{
    return (rows_f32){{_mm256_fnmadd_ps(a.half[0], b.half[0], sum.half[0]),
                       _mm256_fnmadd_ps(a.half[1], b.half[1], sum.half[1])}};
}

INLINE rows_f32 load_f32(const float *w)
{
    return (rows_f32){{_mm256_load_ps(w), _mm256_load_ps(w + HALF_ROWS)}};
}

INLINE __m128i load_eight(const uint16_t *w)
{
    return _mm_load_si128((const __m128i *)(const void *)w);
}

INLINE rows_f32 load_f16(const uint16_t *w)
{
    return (rows_f32){{_mm256_cvtph_ps(load_eight(w)), _mm256_cvtph_ps(load_eight(w + HALF_ROWS))}};
}

INLINE __m256 upper_halves(__m128i eight)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
}

INLINE rows_f32 load_bf16(const uint16_t *w)
{
    return (rows_f32){{upper_halves(load_eight(w)), upper_halves(load_eight(w + HALF_ROWS))}};
}

INLINE rows_f32 to_f32(rows_i32 a)
{
    return (rows_f32){{_mm256_cvtepi32_ps(a.half[0]), _mm256_cvtepi32_ps(a.half[1])}};
}

INLINE rows_f32 signed_bytes_to_f32(__m128i bytes)
{
    return to_f32((rows_i32){
        {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, HALF_ROWS))}});
}

/* b where either is no number. */
INLINE rows_f32 larger_f32(rows_f32 a, rows_f32 b)
{
    return (rows_f32){{_mm256_max_ps(a.half[0], b.half[0]), _mm256_max_ps(a.half[1], b.half[1])}};
}

/* The same bits. */
INLINE rows_f32 as_f32(rows_i32 bits)
{
    return (rows_f32){{_mm256_castsi256_ps(bits.half[0]), _mm256_castsi256_ps(bits.half[1])}};
}

/* ---- weights -------------------------------------------------------------------------------- */

INLINE quads load_quads_at(const uint8_t q[GROUP_ROWS][4], size_t ahead)
{
    const __m256i *halves = with_prefetch_at(q, ahead);
    quads loaded = {{_mm256_load_si256(halves), _mm256_load_si256(halves + 1)}};
    __asm__("" : "+x"(loaded.half[0]), "+x"(loaded.half[1])); /* as in tile_avx512.h */
    return loaded;
}

INLINE void store_quads(uint8_t q[GROUP_ROWS][4], quads a)
{
    __m256i *halves = (__m256i *)(void *)q;
    _mm256_store_si256(halves, a.half[0]);
    _mm256_store_si256(halves + 1, a.half[1]);
}

INLINE quads and_bytes(quads q, int mask)
{
    __m256i bytes = _mm256_set1_epi8((char)mask);
    return (quads){{_mm256_and_si256(q.half[0], bytes), _mm256_and_si256(q.half[1], bytes)}};
}

INLINE quads or_quads(quads a, quads b)
{
    return (quads){{_mm256_or_si256(a.half[0], b.half[0]), _mm256_or_si256(a.half[1], b.half[1])}};
}

INLINE quads and_words(quads q, int mask)
{
    __m256i words = _mm256_set1_epi16((short)mask);
    return (quads){{_mm256_and_si256(q.half[0], words), _mm256_and_si256(q.half[1], words)}};
}

/* Unsigned bytes. */
INLINE rows_i32 bytes_to_i32(__m128i bytes)
{
    return (rows_i32){
        {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, HALF_ROWS))}};
}

INLINE __m256i shift_half(__m256i q, int n)
{
    __v8su lanes = (__v8su)q;
    return (__m256i)(n < 0 ? lanes >> -n : lanes << n);
}

/* To the left by `n` bits, to the right by −n; bits of a byte's neighbours come with it. */
INLINE quads shift(quads q, int n)
{
    return (quads){{shift_half(q.half[0], n), shift_half(q.half[1], n)}};
}

/* The sixteen bytes, looked up by the lower nibble of each byte. */
INLINE quads look_up(__m128i table, quads q)
{
    __m256i both = _mm256_broadcastsi128_si256(table);
    quads nibbles = and_bytes(q, 15);
    return (quads){
        {_mm256_shuffle_epi8(both, nibbles.half[0]), _mm256_shuffle_epi8(both, nibbles.half[1])}};
}

/* ---- dot products --------------------------------------------------------------------------- */

INLINE rows_i32 all_i32(int32_t a)
{
    return (rows_i32){{_mm256_set1_epi32(a), _mm256_set1_epi32(a)}};
}

INLINE __m256i pairs_of_half(__m256i first, __m256i second)
{
    return _mm256_blend_epi16(first, _mm256_slli_epi32(second, 16), 0xaa);
}

/* Pairs of 16-bit numbers: those of two half blocks. */
INLINE rows_i32 pairs_of(rows_i32 first, rows_i32 second)
{
    return (rows_i32){{pairs_of_half(first.half[0], second.half[0]),
                       pairs_of_half(first.half[1], second.half[1])}};
}

INLINE rows_i32 subtract_pairs(rows_i32 a, rows_i32 b)
{
    return (rows_i32){
        {_mm256_sub_epi16(a.half[0], b.half[0]), _mm256_sub_epi16(a.half[1], b.half[1])}};
}

INLINE rows_i32 dot_pairs(rows_i32 a, rows_i32 b)
{
    return (rows_i32){
        {_mm256_madd_epi16(a.half[0], b.half[0]), _mm256_madd_epi16(a.half[1], b.half[1])}};
}

INLINE __m256i broadcast_quad(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm256_set1_epi32(quad);
}

#if defined(__AVXVNNI__)
INLINE rows_i32 dot_quad(rows_i32 dot, quads w, const int8_t *x)
{
    __m256i values = broadcast_quad(x);
    return (rows_i32){{_mm256_dpbusd_avx_epi32(dot.half[0], w.half[0], values),
                       _mm256_dpbusd_avx_epi32(dot.half[1], w.half[1], values)}};
}

#include "kernel/tile_vnni.h"
#else
/* vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, and saturates. It
 * cannot here: six bits give at most 2 · 63 · 127 a step, two steps of which fit; eight bits are
 * taken as |w| · (±x), at most 2 · 128 · 127. */

/* A sum that is complete here: the compiler would add a whole block's products up as a tree, which
 * keeps most of them in memory. */
INLINE __m256i now(__m256i sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

/* dot + pairs of 16-bit sums. */
INLINE __m256i add_pairs(__m256i dot, __m256i sums)
{
    return _mm256_add_epi32(dot, _mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
}

/* Sums of products that stay pairs of 16 bits as long as they fit: weights of at most four bits for
 * all eight quads of a block (8 · 2 · 15 · 127), of five for four quads. */
typedef rows_i32 narrow_sums;

INLINE narrow_sums narrow_from(rows_i32 dot)
{
    (void)dot;
    return all_i32(0);
}

INLINE narrow_sums add_narrow(narrow_sums sums, quads w, const int8_t *x)
{
    __m256i values = broadcast_quad(x);
    return (narrow_sums){
        {now(_mm256_add_epi16(sums.half[0], _mm256_maddubs_epi16(w.half[0], values))),
         now(_mm256_add_epi16(sums.half[1], _mm256_maddubs_epi16(w.half[1], values)))}};
}

/* dot and what has been added since narrow_from(dot). */
INLINE rows_i32 widened(rows_i32 dot, narrow_sums sums)
{
    return (rows_i32){
        {now(add_pairs(dot.half[0], sums.half[0])), now(add_pairs(dot.half[1], sums.half[1]))}};
}

INLINE __m256i dot_two_half(__m256i dot, __m256i w0, __m256i x0, __m256i w1, __m256i x1)
{
    return add_pairs(dot,
                     _mm256_add_epi16(_mm256_maddubs_epi16(w0, x0), _mm256_maddubs_epi16(w1, x1)));
}

/* dot + w0 · x0 + w1 · x1, weights of at most six bits; not kept from being added up as a tree, as
 * a half block has only two of these. */
INLINE rows_i32 dot_two(rows_i32 dot, quads w0, const int8_t *x0, quads w1, const int8_t *x1)
{
    __m256i values0 = broadcast_quad(x0), values1 = broadcast_quad(x1);
    return (rows_i32){{dot_two_half(dot.half[0], w0.half[0], values0, w1.half[0], values1),
                       dot_two_half(dot.half[1], w0.half[1], values0, w1.half[1], values1)}};
}

/* Weights of eight bits are signed: what dot_byte takes, from the packed bytes and from a table of
 * signed ones; and what its sums start from. */
INLINE quads byte_weights(quads packed)
{
    __m256i top = _mm256_set1_epi8(-128);
    return (quads){{_mm256_xor_si256(packed.half[0], top), _mm256_xor_si256(packed.half[1], top)}};
}

INLINE __m128i byte_table(const int8_t values[16])
{
    return _mm_loadu_si128((const __m128i *)(const void *)values);
}

INLINE rows_i32 byte_start(const activation_block *x)
{
    (void)x;
    return all_i32(0);
}

INLINE __m256i dot_byte_half(__m256i dot, __m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return now(add_pairs(dot, pairs));
}

INLINE rows_i32 dot_byte(rows_i32 dot, quads w, const int8_t *x)
{
    __m256i values = broadcast_quad(x);
    return (rows_i32){{dot_byte_half(dot.half[0], w.half[0], values),
                       dot_byte_half(dot.half[1], w.half[1], values)}};
}
#endif

#include "kernel/tile.h"

#endif
