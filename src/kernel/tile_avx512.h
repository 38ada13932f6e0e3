/* tile_avx512.h: what the products for AVX-512 share: the tile around a record's arithmetic, and
 * the loads and dot products of the packed layouts. Included only by matmul_avx512.c and
 * matmul_rare_avx512.c. */
#ifndef KERNEL_TILE_AVX512_H
#define KERNEL_TILE_AVX512_H

#include "kernel/internal.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/inline.h"

#define EACH_COLUMN UNROLL for (size_t c = 0; c < columns; c++)

/* How far ahead of the arithmetic weights are asked for. The hardware's own prefetch does not keep
 * up once several columns slow the stream down. One line a load, never a burst: see docs/speed.md.
 */
enum { PREFETCH_BYTES = 8192 };

/* The address itself; the line that many bytes on is asked for. */
INLINE const void *with_prefetch(const void *address)
{
    _mm_prefetch((const char *)address + PREFETCH_BYTES, _MM_HINT_T0);
    return address;
}

/* One record against `columns` activations, `x` the first one's part, added to total[column]. */
typedef void add_function(const void *record, const char *x, size_t x_stride, size_t columns,
                          __m512 total[TILE_COLUMNS]);

INLINE void tile_columns(add_function *add, size_t record_bytes, size_t x_step, const char *records,
                         size_t n_records, const char *x, size_t x_stride, size_t columns, float *y,
                         size_t y_stride)
{
    __m512 total[TILE_COLUMNS];
    EACH_COLUMN total[c] = _mm512_setzero_ps();
    for (size_t i = 0; i < n_records; i++, records += record_bytes, x += x_step)
        add(records, x, x_stride, columns, total);
    EACH_COLUMN _mm512_storeu_ps(y + c * y_stride, total[c]);
}

INLINE void tile(add_function *add, size_t record_bytes, size_t x_step, const void *records,
                 size_t n, const void *x, size_t x_stride, size_t columns, float *y,
                 size_t y_stride)
{
#define CASE(count)                                                                                \
    case count:                                                                                    \
        tile_columns(add, record_bytes, x_step, records, n, x, x_stride, count, y, y_stride);      \
        break
    if (ONE_BODY) {
        tile_columns(add, record_bytes, x_step, records, n, x, x_stride, columns, y, y_stride);
        return;
    }
    switch (columns) {
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
        CASE(7);
        CASE(8);
    }
#undef CASE
}

#define DEFINE_TILE(type, add, record, x_step)                                                     \
    void avx512_tile_##type(const void *records, size_t n_records, const void *x, size_t x_stride, \
                            size_t columns, float *y, size_t y_stride)                             \
    {                                                                                              \
        tile(add, sizeof(record), x_step, records, n_records, x, x_stride, columns, y, y_stride);  \
    }

INLINE const activation_block *block_of(const char *x, size_t x_stride, size_t column, size_t block)
{
    return (const activation_block *)(const void *)(x + column * x_stride) + block;
}

INLINE __m512i load_quad(const uint8_t q[GROUP_ROWS][4])
{
    return _mm512_load_si512(with_prefetch(q));
}

INLINE __m512i dot_quad(__m512i dot, __m512i w, const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm512_dpbusd_epi32(dot, w, _mm512_set1_epi32(quad));
}

INLINE __m512 load_halves(const uint16_t *d)
{
    return _mm512_cvtph_ps(_mm256_load_si256(with_prefetch(d)));
}

INLINE __m512i low_nibbles(__m512i q)
{
    return _mm512_and_si512(q, _mm512_set1_epi8(15));
}

INLINE __m512i high_nibbles(__m512i q)
{
    return low_nibbles(_mm512_srli_epi16(q, 4));
}

/* total += dot · scale · x's scale. */
INLINE __m512 add_scaled(__m512 total, __m512i dot, __m512 scale, const activation_block *x)
{
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale);
    return _mm512_fmadd_ps(value, _mm512_set1_ps(x->scale), total);
}

INLINE void dot_nibbles(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], const char *x,
                        size_t x_stride, size_t block, size_t columns, __m512i dot[TILE_COLUMNS])
{
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m512i both = load_quad(q[i]), low = low_nibbles(both), high = high_nibbles(both);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            dot[c] = dot_quad(dot[c], low, values);
            dot[c] = dot_quad(dot[c], high, values + BLOCK_COLUMNS / 2);
        }
    }
}

INLINE __m512 bytes_to_float(const void *bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128(with_prefetch(bytes))));
}

/* Bit i of `high` becomes bit 4 beside a nibble. */
INLINE __m512i five_bits(__m512i nibbles, __m512i high, int i)
{
    __m512i placed = i < 4 ? _mm512_sllv_epi32(high, _mm512_set1_epi32(4 - i))
                           : _mm512_srlv_epi32(high, _mm512_set1_epi32(i - 4));
    return _mm512_or_si512(nibbles, _mm512_and_si512(placed, _mm512_set1_epi8(16)));
}

INLINE void dot_five_bits(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4],
                          const uint8_t high[GROUP_ROWS][4], const char *x, size_t x_stride,
                          size_t block, size_t columns, __m512i dot[TILE_COLUMNS])
{
    __m512i fifth = load_quad(high);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m512i both = load_quad(q[i]);
        __m512i low_quad = five_bits(low_nibbles(both), fifth, (int)i);
        __m512i high_quad = five_bits(high_nibbles(both), fifth, (int)i + 4);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            dot[c] = dot_quad(dot[c], low_quad, values);
            dot[c] = dot_quad(dot[c], high_quad, values + BLOCK_COLUMNS / 2);
        }
    }
}

#endif
