/* matmul_rare_avx2.c: the products for AVX2 of the types fewer models use: Q4_1, Q5_0, Q5_1,
 * IQ4_NL, Q2_K, Q3_K and IQ4_XS.
 *
 * What matmul_avx2.c says of saturation holds here too: a half block of three bits adds four steps
 * of at most 2 · 7 · 127 in 16 bits, and the table of IQ4 is taken as |w| · (±x).
 */
#if defined(__x86_64__)
#include "kernel/matmul_avx2.h"
#include "kernel/tile_avx2.h"

/* ---- blocks of 32 --------------------------------------------------------------------------- */

/* total += (dot · scale + min · Σx) · x's scale. */
INLINE __m256 add_offset(__m256 total, __m256i dot, __m256 scale, __m256 min,
                         const activation_block *x)
{
    __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
    value = _mm256_fmadd_ps(min, _mm256_set1_ps(x->sum), value);
    return _mm256_fmadd_ps(value, _mm256_set1_ps(x->scale), total);
}

INLINE void add_q4_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q4_1 *w = record;
    for (size_t b = 0; b < 2; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_nibbles(w->q[b], half, x, x_stride, b, columns, dot);
            __m256 d = load_halves(w->d[b], half), m = load_halves(w->m[b], half);
            EACH_COLUMN total[c][half] =
                add_offset(total[c][half], dot[c], d, m, block_of(x, x_stride, c, b));
        }
}

INLINE void add_q5_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q5_0 *w = record;
    for (size_t b = 0; b < 2; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_five_bits(w->low.q[b], w->high[b], half, x, x_stride, b, columns, dot);
            __m256 d = load_halves(w->low.d[b], half);
            EACH_COLUMN
            {
                const activation_block *block = block_of(x, x_stride, c, b);
                dot[c] = _mm256_add_epi32(dot[c], _mm256_set1_epi32(2 * block->minus_8_sum));
                total[c][half] = add_scaled(total[c][half], dot[c], d, block);
            }
        }
}

INLINE void add_q5_1(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q5_1 *w = record;
    for (size_t b = 0; b < 2; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_five_bits(w->low.q[b], w->high[b], half, x, x_stride, b, columns, dot);
            __m256 d = load_halves(w->low.d[b], half), m = load_halves(w->low.m[b], half);
            EACH_COLUMN total[c][half] =
                add_offset(total[c][half], dot[c], d, m, block_of(x, x_stride, c, b));
        }
}

/* dot + Σ w · x of a quad of signed bytes above −128. */
INLINE __m256i dot_signed(__m256i dot, __m256i w, const int8_t *x)
{
    __m256i values = _mm256_sign_epi8(broadcast_quad(x), w);
    return _mm256_add_epi32(dot, add_pairs(_mm256_maddubs_epi16(_mm256_abs_epi8(w), values)));
}

INLINE void dot_iq4(const uint8_t q[BLOCK_QUADS / 2][GROUP_ROWS][4], size_t half, const char *x,
                    size_t x_stride, size_t block, size_t columns, __m256i dot[MOST_COLUMNS])
{
    __m256i table =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)iq4_values));
    EACH_COLUMN dot[c] = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m256i both = load_quad(q[i], half);
        __m256i low = _mm256_shuffle_epi8(table, low_nibbles(both));
        __m256i high = _mm256_shuffle_epi8(table, high_nibbles(both));
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 4 * i;
            dot[c] = dot_signed(dot[c], low, values);
            dot[c] = dot_signed(dot[c], high, values + BLOCK_COLUMNS / 2);
        }
    }
}

INLINE void add_iq4_nl(const void *record, const char *x, size_t x_stride, size_t columns,
                       totals total)
{
    const record_iq4_nl *w = record;
    for (size_t b = 0; b < 2; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_iq4(w->q[b], half, x, x_stride, b, columns, dot);
            __m256 d = load_halves(w->d[b], half);
            EACH_COLUMN total[c][half] =
                add_scaled(total[c][half], dot[c], d, block_of(x, x_stride, c, b));
        }
}

/* ---- super-blocks --------------------------------------------------------------------------- */

INLINE void add_iq4_xs(const void *record, const char *x, size_t x_stride, size_t columns,
                       totals total)
{
    const record_iq4_xs *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_iq4(w->q[b], half, x, x_stride, b, columns, dot);
            __m256 scale =
                _mm256_mul_ps(load_halves(w->d, half), bytes_to_float(w->scale[b], half));
            EACH_COLUMN total[c][half] =
                add_scaled(total[c][half], dot[c], scale, block_of(x, x_stride, c, b));
        }
}

/* Bits 2i and 2i + 1. */
INLINE __m256i two_bits(__m256i q, int i)
{
    return _mm256_and_si256(_mm256_srlv_epi32(q, _mm256_set1_epi32(2 * i)), _mm256_set1_epi8(3));
}

/* Eight bytes of a row group's sixteen. */
INLINE __m128i load_bytes(const uint8_t bytes[GROUP_ROWS], size_t half)
{
    return _mm_loadl_epi64(with_prefetch(bytes + half * HALF_ROWS, half));
}

INLINE __m256 small_to_float(__m128i bytes)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* Half a block of two-bit values with its scale and minimum, added to value. */
INLINE void add_two_bits(const record_q2_k *w, size_t half, const char *x, size_t x_stride,
                         size_t b, size_t part, size_t columns, __m256 value[MOST_COLUMNS])
{
    __m256i dot[MOST_COLUMNS], q = load_quad(w->q[b][part], half);
    EACH_COLUMN dot[c] = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m256i quad = two_bits(q, (int)i);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, b)->q + 16 * part + 4 * i;
            __m256i pairs = _mm256_maddubs_epi16(quad, broadcast_quad(values));
            dot[c] = _mm256_add_epi16(dot[c], pairs);
        }
    }
    __m128i both = load_bytes(w->scale_min[b][part], half);
    __m128i low = _mm_and_si128(both, _mm_set1_epi8(15));
    __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), _mm_set1_epi8(15));
    __m256 dmin = _mm256_mul_ps(load_halves(w->dmin, half), _mm256_set1_ps(0x1p-5f));
    __m256 scale = _mm256_mul_ps(load_halves(w->d, half), small_to_float(low));
    __m256 min = _mm256_mul_ps(dmin, small_to_float(high));
    EACH_COLUMN
    {
        float sum = (float)block_of(x, x_stride, c, b)->minus_32_sum[part];
        value[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(add_pairs(dot[c])), scale, value[c]);
        value[c] = _mm256_fmadd_ps(_mm256_set1_ps(sum), min, value[c]);
    }
}

INLINE void add_q2_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q2_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256 value[MOST_COLUMNS];
            EACH_COLUMN value[c] = _mm256_setzero_ps();
            add_two_bits(w, half, x, x_stride, b, 0, columns, value);
            add_two_bits(w, half, x, x_stride, b, 1, columns, value);
            EACH_COLUMN
            {
                __m256 x_scale = _mm256_set1_ps(block_of(x, x_stride, c, b)->scale);
                total[c][half] = _mm256_fmadd_ps(value[c], x_scale, total[c][half]);
            }
        }
}

/* Bit i of `high` becomes bit 2 beside two bits. */
INLINE __m256i three_bits(__m256i low, __m256i high, int i)
{
    __m256i placed = i < 2 ? _mm256_sllv_epi32(high, _mm256_set1_epi32(2 - i))
                           : _mm256_srlv_epi32(high, _mm256_set1_epi32(i - 2));
    return _mm256_or_si256(low, _mm256_and_si256(placed, _mm256_set1_epi8(4)));
}

INLINE __m256 scale_q3_k(const record_q3_k *w, size_t b, size_t part, size_t half)
{
    __m128i low = load_bytes(w->scale_low[b], half), high = load_bytes(w->scale_high[b / 2], half);
    low = _mm_and_si128(_mm_srli_epi16(low, 4 * (int)part), _mm_set1_epi8(15));
    __m128i shift = _mm_cvtsi32_si128((int)(b % 2 * 4 + 2 * part));
    high = _mm_and_si128(_mm_srl_epi16(high, shift), _mm_set1_epi8(3));
    __m128i scale = _mm_or_si128(low, _mm_slli_epi16(high, 4));
    return small_to_float(_mm_sub_epi8(scale, _mm_set1_epi8(32)));
}

/* The sixteen products of half a block, with its zero point of 4. */
INLINE void dot_three_bits(const record_q3_k *w, size_t half, const char *x, size_t x_stride,
                           size_t block, size_t part, size_t columns, __m256i dot[MOST_COLUMNS])
{
    __m256i low = load_quad(w->low[block][part], half), third = load_quad(w->high[block], half);
    EACH_COLUMN dot[c] = _mm256_setzero_si256();
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m256i quad = three_bits(two_bits(low, (int)i), third, (int)(4 * part + i));
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 16 * part + 4 * i;
            __m256i pairs = _mm256_maddubs_epi16(quad, broadcast_quad(values));
            dot[c] = _mm256_add_epi16(dot[c], pairs);
        }
    }
    EACH_COLUMN
    {
        int32_t minus_4_sum = block_of(x, x_stride, c, block)->minus_32_sum[part] / 8;
        dot[c] = _mm256_add_epi32(add_pairs(dot[c]), _mm256_set1_epi32(minus_4_sum));
    }
}

INLINE void add_q3_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q3_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            __m256 value[MOST_COLUMNS], d = load_halves(w->d, half);
            dot_three_bits(w, half, x, x_stride, b, 0, columns, dot);
            __m256 scale = _mm256_mul_ps(d, scale_q3_k(w, b, 0, half));
            EACH_COLUMN value[c] = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[c]), scale);
            dot_three_bits(w, half, x, x_stride, b, 1, columns, dot);
            scale = _mm256_mul_ps(d, scale_q3_k(w, b, 1, half));
            EACH_COLUMN
            {
                value[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), scale, value[c]);
                __m256 x_scale = _mm256_set1_ps(block_of(x, x_stride, c, b)->scale);
                total[c][half] = _mm256_fmadd_ps(value[c], x_scale, total[c][half]);
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
