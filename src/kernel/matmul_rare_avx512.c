/* matmul_rare_avx512.c: the products for AVX-512 of the types fewer models use: Q4_1, Q5_0, Q5_1,
 * IQ4_NL, Q2_K, Q3_K and IQ4_XS. */
#if defined(__x86_64__)
#include "kernel/matmul_avx512.h"
#include "kernel/tile_avx512.h"

/* ---- blocks of 32 --------------------------------------------------------------------------- */

/* total += (dot · scale + min · Σx) · x's scale. */
INLINE __m512 add_offset(__m512 total, __m512i dot, __m512 scale, __m512 min,
                         const activation_block *x)
{
    __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale);
    value = _mm512_fmadd_ps(min, _mm512_set1_ps(x->sum), value);
    return _mm512_fmadd_ps(value, _mm512_set1_ps(x->scale), total);
}

INLINE void add_q4_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q4_1 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_setzero_si512();
        dot_nibbles(w->q[b], x, x_stride, b, columns, dot);
        __m512 d = load_halves(w->d[b]), m = load_halves(w->m[b]);
        EACH_COLUMN total[c] = add_offset(total[c], dot[c], d, m, block_of(x, x_stride, c, b));
    }
}

INLINE void add_q5_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q5_0 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_set1_epi32(2 * block_of(x, x_stride, c, b)->minus_8_sum);
        dot_five_bits(w->low.q[b], w->high[b], x, x_stride, b, columns, dot);
        __m512 d = load_halves(w->low.d[b]);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

INLINE void add_q5_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q5_1 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_setzero_si512();
        dot_five_bits(w->low.q[b], w->high[b], x, x_stride, b, columns, dot);
        __m512 d = load_halves(w->low.d[b]), m = load_halves(w->low.m[b]);
        EACH_COLUMN total[c] = add_offset(total[c], dot[c], d, m, block_of(x, x_stride, c, b));
    }
}

/* The nibbles' values come from a table, unsigned by a zero point of 128. */
INLINE void dot_iq4(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], const char *x, size_t x_stride,
                    size_t block, size_t columns, __m512i dot[TILE_COLUMNS])
{
    __m128i signed_values = _mm_loadu_si128((const __m128i *)(const void *)iq4_values);
    __m512i table = _mm512_broadcast_i32x4(_mm_xor_si128(signed_values, _mm_set1_epi8(-128)));
    EACH_COLUMN dot[c] = _mm512_set1_epi32(block_of(x, x_stride, c, block)->minus_128_sum);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m512i both = load_quad(q[i]);
        __m512i low = _mm512_shuffle_epi8(table, low_nibbles(both));
        __m512i high = _mm512_shuffle_epi8(table, high_nibbles(both));
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            dot[c] = dot_quad(dot[c], low, values);
            dot[c] = dot_quad(dot[c], high, values + BLOCK_COLUMNS / 2);
        }
    }
}

INLINE void add_iq4_nl(const void *record, const char *x, size_t x_stride, size_t columns,
                       __m512 total[TILE_COLUMNS])
{
    const record_iq4_nl *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        __m512i dot[TILE_COLUMNS];
        dot_iq4(w->q[b], x, x_stride, b, columns, dot);
        __m512 d = load_halves(w->d[b]);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

/* ---- super-blocks --------------------------------------------------------------------------- */

INLINE void add_iq4_xs(const void *record, const char *x, size_t x_stride, size_t columns,
                       __m512 total[TILE_COLUMNS])
{
    const record_iq4_xs *w = record;
    __m512 d = load_halves(w->d);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        __m512i dot[TILE_COLUMNS];
        dot_iq4(w->q[b], x, x_stride, b, columns, dot);
        __m512 scale = _mm512_mul_ps(d, bytes_to_float(w->scale[b]));
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], scale, block_of(x, x_stride, c, b));
    }
}

/* Bits 2i and 2i + 1. */
INLINE __m512i two_bits(__m512i q, int i)
{
    return _mm512_and_si512(_mm512_srlv_epi32(q, _mm512_set1_epi32(2 * i)), _mm512_set1_epi8(3));
}

INLINE __m512 small_to_float(__m128i bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

INLINE void add_q2_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q2_k *w = record;
    __m512 d = load_halves(w->d);
    __m512 dmin = _mm512_mul_ps(load_halves(w->dmin), _mm512_set1_ps(0x1p-5f));
    for (size_t b = 0; b < K_BLOCKS; b++) {
        __m512 value[TILE_COLUMNS];
        EACH_COLUMN value[c] = _mm512_setzero_ps();
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m512i dot[TILE_COLUMNS], q = load_quad(w->q[b][half]);
            EACH_COLUMN dot[c] = _mm512_setzero_si512();
            UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
            {
                __m512i quad = two_bits(q, (int)i);
                EACH_COLUMN
                {
                    const int8_t *values = block_of(x, x_stride, c, b)->q + 16 * half + 4 * i;
                    dot[c] = dot_quad(dot[c], quad, values);
                }
            }
            __m128i both = _mm_load_si128(with_prefetch(w->scale_min[b][half]));
            __m128i low = _mm_and_si128(both, _mm_set1_epi8(15));
            __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), _mm_set1_epi8(15));
            __m512 scale = _mm512_mul_ps(d, small_to_float(low));
            __m512 min = _mm512_mul_ps(dmin, small_to_float(high));
            EACH_COLUMN
            {
                int32_t sum = block_of(x, x_stride, c, b)->minus_32_sum[half];
                value[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[c]), scale, value[c]);
                value[c] = _mm512_fmadd_ps(_mm512_set1_ps((float)sum), min, value[c]);
            }
        }
        EACH_COLUMN
        {
            __m512 x_scale = _mm512_set1_ps(block_of(x, x_stride, c, b)->scale);
            total[c] = _mm512_fmadd_ps(value[c], x_scale, total[c]);
        }
    }
}

/* Bit i of `high` becomes bit 2 beside two bits. */
INLINE __m512i three_bits(__m512i low, __m512i high, int i)
{
    __m512i placed = i < 2 ? _mm512_sllv_epi32(high, _mm512_set1_epi32(2 - i))
                           : _mm512_srlv_epi32(high, _mm512_set1_epi32(i - 2));
    return _mm512_or_si512(low, _mm512_and_si512(placed, _mm512_set1_epi8(4)));
}

INLINE __m512 scale_q3_k(const record_q3_k *w, size_t b, size_t half)
{
    __m128i low = _mm_load_si128(with_prefetch(w->scale_low[b]));
    __m128i high = _mm_load_si128((const __m128i *)(const void *)w->scale_high[b / 2]);
    low = _mm_and_si128(_mm_srli_epi16(low, 4 * (int)half), _mm_set1_epi8(15));
    __m128i shift = _mm_cvtsi32_si128((int)(b % 2 * 4 + 2 * half));
    high = _mm_and_si128(_mm_srl_epi16(high, shift), _mm_set1_epi8(3));
    __m128i scale = _mm_or_si128(low, _mm_slli_epi16(high, 4));
    return small_to_float(_mm_sub_epi8(scale, _mm_set1_epi8(32)));
}

/* The sixteen products of half a block, with its zero point of 4. */
INLINE void dot_three_bits(const record_q3_k *w, __m512i third, const char *x, size_t x_stride,
                           size_t block, size_t half, size_t columns, __m512i dot[TILE_COLUMNS])
{
    __m512i low = load_quad(w->low[block][half]);
    EACH_COLUMN dot[c] = _mm512_set1_epi32(block_of(x, x_stride, c, block)->minus_32_sum[half] / 8);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m512i quad = three_bits(two_bits(low, (int)i), third, (int)(4 * half + i));
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 16 * half + 4 * i;
            dot[c] = dot_quad(dot[c], quad, values);
        }
    }
}

INLINE void add_q3_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q3_k *w = record;
    __m512 d = load_halves(w->d);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        __m512i dot[TILE_COLUMNS], third = load_quad(w->high[b]);
        __m512 value[TILE_COLUMNS];
        dot_three_bits(w, third, x, x_stride, b, 0, columns, dot);
        __m512 scale = _mm512_mul_ps(d, scale_q3_k(w, b, 0));
        EACH_COLUMN value[c] = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[c]), scale);
        dot_three_bits(w, third, x, x_stride, b, 1, columns, dot);
        scale = _mm512_mul_ps(d, scale_q3_k(w, b, 1));
        EACH_COLUMN
        {
            value[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[c]), scale, value[c]);
            __m512 x_scale = _mm512_set1_ps(block_of(x, x_stride, c, b)->scale);
            total[c] = _mm512_fmadd_ps(value[c], x_scale, total[c]);
        }
    }
}

DEFINE_TILE(q4_1, add_q4_1, record_q4_1, 2 * sizeof(activation_block))
DEFINE_TILE(q5_0, add_q5_0, record_q5_0, 2 * sizeof(activation_block))
DEFINE_TILE(q5_1, add_q5_1, record_q5_1, 2 * sizeof(activation_block))
DEFINE_TILE(iq4_nl, add_iq4_nl, record_iq4_nl, 2 * sizeof(activation_block))
DEFINE_TILE(q2_k, add_q2_k, record_q2_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q3_k, add_q3_k, record_q3_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(iq4_xs, add_iq4_xs, record_iq4_xs, K_BLOCKS * sizeof(activation_block))
#endif
