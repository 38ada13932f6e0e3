/* tile_avx2.h: what the products for AVX2 share: the tile around a record's arithmetic, and the
 * loads and dot products of the packed layouts. Included only by matmul_avx2.c and
 * matmul_rare_avx2.c. */
#ifndef KERNEL_TILE_AVX2_H
#define KERNEL_TILE_AVX2_H

#include "kernel/internal.h"

#include <immintrin.h>
#include <string.h>

#include "kernel/inline.h"

#define EACH_COLUMN UNROLL for (size_t c = 0; c < columns; c++)

enum {
    HALF_ROWS = 8,
    MOST_COLUMNS = 4, /* more would not fit sixteen registers */
    PREFETCH_BYTES = 8192,
};

typedef __m256 totals[MOST_COLUMNS][2]; /* per column: rows 0–7, rows 8–15 */

/* One record against `columns` activations, `x` the first one's part, added to total. */
typedef void add_function(const void *record, const char *x, size_t x_stride, size_t columns,
                          totals total);

/* The address itself; for the first half, the line PREFETCH_BYTES on is asked for. */
INLINE const void *with_prefetch(const void *address, size_t half)
{
    if (half == 0)
        _mm_prefetch((const char *)address + PREFETCH_BYTES, _MM_HINT_T0);
    return address;
}

INLINE void tile_columns(add_function *add, size_t record_bytes, size_t x_step, const char *records,
                         size_t n_records, const char *x, size_t x_stride, size_t columns, float *y,
                         size_t y_stride)
{
    totals total;
    EACH_COLUMN total[c][0] = total[c][1] = _mm256_setzero_ps();
    for (size_t i = 0; i < n_records; i++, records += record_bytes, x += x_step)
        add(records, x, x_stride, columns, total);
    EACH_COLUMN
    {
        _mm256_storeu_ps(y + c * y_stride, total[c][0]);
        _mm256_storeu_ps(y + c * y_stride + HALF_ROWS, total[c][1]);
    }
}

INLINE void tile(add_function *add, size_t record_bytes, size_t x_step, const void *records,
                 size_t n, const char *x, size_t x_stride, size_t columns, float *y,
                 size_t y_stride)
{
    while (columns > MOST_COLUMNS) {
        tile_columns(add, record_bytes, x_step, records, n, x, x_stride, MOST_COLUMNS, y, y_stride);
        columns -= MOST_COLUMNS;
        x += MOST_COLUMNS * x_stride;
        y += MOST_COLUMNS * y_stride;
    }
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
    }
#undef CASE
}

#define DEFINE_TILE(type, add, record, x_step)                                                     \
    void avx2_tile_##type(const void *records, size_t n_records, const void *x, size_t x_stride,   \
                          size_t columns, float *y, size_t y_stride)                               \
    {                                                                                              \
        tile(add, sizeof(record), x_step, records, n_records, x, x_stride, columns, y, y_stride);  \
    }

INLINE const activation_block *block_of(const char *x, size_t x_stride, size_t column, size_t block)
{
    return (const activation_block *)(const void *)(x + column * x_stride) + block;
}

INLINE __m256i load_quad(const uint8_t q[GROUP_ROWS][4], size_t half)
{
    return _mm256_load_si256(with_prefetch(q[half * HALF_ROWS], half));
}

INLINE __m256i broadcast_quad(const int8_t *x)
{
    int32_t quad;
    memcpy(&quad, x, sizeof quad);
    return _mm256_set1_epi32(quad);
}

/* Pairs of 16-bit sums, added into 32 bits. */
INLINE __m256i add_pairs(__m256i sums)
{
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

INLINE __m256 load_halves(const uint16_t *d, size_t half)
{
    return _mm256_cvtph_ps(_mm_load_si128(with_prefetch(d + half * HALF_ROWS, half)));
}

INLINE __m256i low_nibbles(__m256i q)
{
    return _mm256_and_si256(q, _mm256_set1_epi8(15));
}

INLINE __m256i high_nibbles(__m256i q)
{
    return low_nibbles(_mm256_srli_epi16(q, 4));
}

/* total += dot · scale · x's scale. */
INLINE __m256 add_scaled(__m256 total, __m256i dot, __m256 scale, const activation_block *x)
{
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
    return _mm256_fmadd_ps(value, _mm256_set1_ps(x->scale), total);
}

/* The sum of 32 products in 32 bits, without a zero point. */
INLINE void dot_nibbles(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t half, const char *x,
                        size_t x_stride, size_t block, size_t columns, __m256i dot[MOST_COLUMNS])
{
    EACH_COLUMN dot[c] = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m256i both = load_quad(q[i], half), low = low_nibbles(both), high = high_nibbles(both);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            __m256i x_low = broadcast_quad(values);
            __m256i x_high = broadcast_quad(values + BLOCK_COLUMNS / 2);
            dot[c] = _mm256_add_epi16(dot[c], _mm256_maddubs_epi16(low, x_low));
            dot[c] = _mm256_add_epi16(dot[c], _mm256_maddubs_epi16(high, x_high));
        }
    }
    EACH_COLUMN dot[c] = add_pairs(dot[c]);
}

INLINE __m256 bytes_to_float(const void *bytes, size_t half)
{
    const char *eight = (const char *)bytes + half * HALF_ROWS;
    __m128i raw = _mm_loadl_epi64(with_prefetch(eight, half));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(raw));
}

/* Bit i of `high` becomes bit 4 beside a nibble. */
INLINE __m256i five_bits(__m256i nibbles, __m256i high, int i)
{
    __m256i placed = i < 4 ? _mm256_sllv_epi32(high, _mm256_set1_epi32(4 - i))
                           : _mm256_srlv_epi32(high, _mm256_set1_epi32(i - 4));
    return _mm256_or_si256(nibbles, _mm256_and_si256(placed, _mm256_set1_epi8(16)));
}

INLINE void dot_five_bits(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4],
                          const uint8_t high_bits[GROUP_ROWS][4], size_t half, const char *x,
                          size_t x_stride, size_t block, size_t columns, __m256i dot[MOST_COLUMNS])
{
    __m256i fifth = load_quad(high_bits, half);
    EACH_COLUMN dot[c] = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m256i both = load_quad(q[i], half);
        __m256i low = five_bits(low_nibbles(both), fifth, (int)i);
        __m256i high = five_bits(high_nibbles(both), fifth, (int)i + 4);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            __m256i x_high = broadcast_quad(values + BLOCK_COLUMNS / 2);
            __m256i sums = _mm256_add_epi16(_mm256_maddubs_epi16(low, broadcast_quad(values)),
                                            _mm256_maddubs_epi16(high, x_high));
            dot[c] = _mm256_add_epi32(dot[c], add_pairs(sums));
        }
    }
}

#endif
