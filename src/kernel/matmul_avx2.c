/*
 * matmul_avx2.c: the products for AVX2. Two registers hold a quad of sixteen rows, so each record
 * is passed over in two halves of eight rows, for up to four columns at once.
 *
 * vpmaddubsw adds two products of an unsigned and a signed byte in 16 bits, and saturates. It
 * cannot here: four bits give at most 2 · 15 · 127 a step, eight steps of which fit; six bits two
 * steps; eight bits are taken as |w| · (±x), at most 2 · 128 · 127.
 */
#if defined(__x86_64__)
#include "kernel/matmul_avx2.h"
#include "kernel/matmul_reference.h"
#include "kernel/tile_avx2.h"

/* ---- floats --------------------------------------------------------------------------------- */

typedef __m256 load_function(const void *record, size_t k, size_t half);

INLINE __m256 load_f32(const void *record, size_t k, size_t half)
{
    const record_f32 *w = record;
    return _mm256_load_ps(with_prefetch(w->w[k] + half * HALF_ROWS, half));
}

/* Two columns of 16-bit weights make a line. */
INLINE __m128i load_16_bits(const void *record, size_t k, size_t half)
{
    const record_f16 *w = record;
    return _mm_load_si128(with_prefetch(w->w[k] + half * HALF_ROWS, half + k % 2));
}

INLINE __m256 load_f16(const void *record, size_t k, size_t half)
{
    return _mm256_cvtph_ps(load_16_bits(record, k, half));
}

INLINE __m256 load_bf16(const void *record, size_t k, size_t half)
{
    __m256i wide = _mm256_cvtepu16_epi32(load_16_bits(record, k, half));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

INLINE void add_floats(load_function *load, const void *record, const char *x, size_t x_stride,
                       size_t columns, totals total)
{
    UNROLL for (size_t half = 0; half < 2; half++)
    {
        __m256 even[MOST_COLUMNS], odd[MOST_COLUMNS];
        EACH_COLUMN even[c] = odd[c] = _mm256_setzero_ps();
        UNROLL for (size_t k = 0; k < BLOCK_COLUMNS; k += 2)
        {
            __m256 w0 = load(record, k, half), w1 = load(record, k + 1, half);
            EACH_COLUMN
            {
                const float *values = (const float *)(const void *)(x + c * x_stride);
                even[c] = _mm256_fmadd_ps(w0, _mm256_set1_ps(values[k]), even[c]);
                odd[c] = _mm256_fmadd_ps(w1, _mm256_set1_ps(values[k + 1]), odd[c]);
            }
        }
        EACH_COLUMN total[c][half] = _mm256_add_ps(total[c][half], _mm256_add_ps(even[c], odd[c]));
    }
}

INLINE void add_f32(const void *record, const char *x, size_t x_stride, size_t columns,
                    totals total)
{
    add_floats(load_f32, record, x, x_stride, columns, total);
}

INLINE void add_f16(const void *record, const char *x, size_t x_stride, size_t columns,
                    totals total)
{
    add_floats(load_f16, record, x, x_stride, columns, total);
}

INLINE void add_bf16(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    add_floats(load_bf16, record, x, x_stride, columns, total);
}

DEFINE_TILE(f32, add_f32, record_f32, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(f16, add_f16, record_f16, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(bf16, add_bf16, record_f16, BLOCK_COLUMNS * sizeof(float))

/* ---- integers ------------------------------------------------------------------------------- */

INLINE void add_q8_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q8_0 *w = record;
    for (size_t b = 0; b < 2; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            EACH_COLUMN dot[c] = _mm256_setzero_si256();
            UNROLL for (size_t i = 0; i < BLOCK_QUADS; i++)
            {
                __m256i quad = load_quad(w->q[b][i], half);
                quad = _mm256_xor_si256(quad, _mm256_set1_epi8(-128)); /* signed again */
                __m256i magnitude = _mm256_abs_epi8(quad);
                EACH_COLUMN
                {
                    __m256i values = broadcast_quad(block_of(x, x_stride, c, b)->q + 4 * i);
                    values = _mm256_sign_epi8(values, quad);
                    __m256i pairs = add_pairs(_mm256_maddubs_epi16(magnitude, values));
                    dot[c] = _mm256_add_epi32(dot[c], pairs);
                }
            }
            __m256 d = load_halves(w->d[b], half);
            EACH_COLUMN total[c][half] =
                add_scaled(total[c][half], dot[c], d, block_of(x, x_stride, c, b));
        }
}

INLINE void add_q4_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q4_0 *w = record;
    for (size_t b = 0; b < 2; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_nibbles(w->q[b], half, x, x_stride, b, columns, dot);
            __m256 d = load_halves(w->d[b], half);
            EACH_COLUMN
            {
                const activation_block *block = block_of(x, x_stride, c, b);
                dot[c] = _mm256_add_epi32(dot[c], _mm256_set1_epi32(block->minus_8_sum));
                total[c][half] = add_scaled(total[c][half], dot[c], d, block);
            }
        }
}

/* Adds block b of every column, whose Σ q · x is dot, with scale and minimum. */
INLINE void add_with_min(const record_q4_k *w, size_t b, size_t half, const char *x,
                         size_t x_stride, size_t columns, const __m256i dot[MOST_COLUMNS],
                         totals total)
{
    __m256 scale = _mm256_mul_ps(load_halves(w->d, half), bytes_to_float(w->block[b].scale, half));
    __m256 min = _mm256_mul_ps(load_halves(w->dmin, half), bytes_to_float(w->block[b].min, half));
    EACH_COLUMN
    {
        const activation_block *block = block_of(x, x_stride, c, b);
        __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[c]), scale);
        value = _mm256_fnmadd_ps(min, _mm256_set1_ps(block->sum), value);
        __m256 x_scale = _mm256_set1_ps(block->scale);
        total[c][half] = _mm256_fmadd_ps(value, x_scale, total[c][half]);
    }
}

INLINE void add_q4_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q4_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_nibbles(w->q[b], half, x, x_stride, b, columns, dot);
            add_with_min(w, b, half, x, x_stride, columns, dot, total);
        }
}

INLINE void add_q5_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q5_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            dot_five_bits(w->low.q[b], w->high[b], half, x, x_stride, b, columns, dot);
            add_with_min(&w->low, b, half, x, x_stride, columns, dot, total);
        }
}

/* Bits 2i, 2i + 1 of `high` become bits 4, 5 beside a nibble. */
INLINE __m256i six_bits(__m256i nibbles, __m256i high, int i)
{
    __m256i placed = high;
    if (i == 0)
        placed = _mm256_slli_epi16(high, 4);
    else if (i == 1)
        placed = _mm256_slli_epi16(high, 2);
    else if (i == 3)
        placed = _mm256_srli_epi16(high, 2);
    return _mm256_or_si256(nibbles, _mm256_and_si256(placed, _mm256_set1_epi8(0x30)));
}

/* The sixteen products of block half `part`, its zero point included. */
INLINE void dot_six_bits(const record_q6_k *w, size_t half, const char *x, size_t x_stride,
                         size_t block, size_t part, size_t columns, __m256i dot[MOST_COLUMNS])
{
    __m256i high = load_quad(w->block[block].high[part], half);
    EACH_COLUMN dot[c] = _mm256_set1_epi32(block_of(x, x_stride, c, block)->minus_32_sum[part]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i += 2)
    {
        __m256i q0 = load_quad(w->block[block].low[i], half);
        __m256i q1 = load_quad(w->block[block].low[i + 1], half);
        q0 = six_bits(part == 0 ? low_nibbles(q0) : high_nibbles(q0), high, (int)i);
        q1 = six_bits(part == 0 ? low_nibbles(q1) : high_nibbles(q1), high, (int)i + 1);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 16 * part + 4 * i;
            __m256i sums = _mm256_add_epi16(_mm256_maddubs_epi16(q0, broadcast_quad(values)),
                                            _mm256_maddubs_epi16(q1, broadcast_quad(values + 4)));
            dot[c] = _mm256_add_epi32(dot[c], add_pairs(sums));
        }
    }
}

INLINE void add_q6_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     totals total)
{
    const record_q6_k *w = record;
    for (size_t b = 0; b < K_BLOCKS; b++)
        UNROLL for (size_t half = 0; half < 2; half++)
        {
            __m256i dot[MOST_COLUMNS];
            __m256 value[MOST_COLUMNS], d = load_halves(w->d, half);
            dot_six_bits(w, half, x, x_stride, b, 0, columns, dot);
            __m256 scale = _mm256_mul_ps(d, bytes_to_float(w->scale[b][0], half));
            EACH_COLUMN value[c] = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[c]), scale);
            dot_six_bits(w, half, x, x_stride, b, 1, columns, dot);
            scale = _mm256_mul_ps(d, bytes_to_float(w->scale[b][1], half));
            EACH_COLUMN
            {
                value[c] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[c]), scale, value[c]);
                __m256 x_scale = _mm256_set1_ps(block_of(x, x_stride, c, b)->scale);
                total[c][half] = _mm256_fmadd_ps(value[c], x_scale, total[c][half]);
            }
        }
}

DEFINE_TILE(q8_0, add_q8_0, record_q8_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_0, add_q4_0, record_q4_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_k, add_q4_k, record_q4_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q5_k, add_q5_k, record_q5_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q6_k, add_q6_k, record_q6_k, K_BLOCKS * sizeof(activation_block))

/* ---- activations ---------------------------------------------------------------------------- */

INLINE float largest(__m256 a)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE int32_t sum_bytes(__m128i q)
{
    __m256i pairs = _mm256_madd_epi16(_mm256_cvtepi8_epi16(q), _mm256_set1_epi16(1));
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1);
}

/* Sixteen values as bytes in [−127, 127]. */
INLINE __m128i round_clamped(const float *x, float inverse)
{
    __m256 factor = _mm256_set1_ps(inverse);
    __m256i q0 = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), factor));
    __m256i q1 = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), factor));
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(q0, q1), 0xd8);
    __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    return _mm_max_epi8(bytes, _mm_set1_epi8(-127));
}

void avx2_quantize(activation_block *blocks, const float *x, size_t n_blocks)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    for (size_t b = 0; b < n_blocks; b++, blocks++, x += BLOCK_COLUMNS) {
        __m256 all = _mm256_setzero_ps();
        /* vmaxps gives the second of a NaN and a number: a NaN is passed over. */
        UNROLL for (size_t k = 0; k < BLOCK_COLUMNS; k += 8) all =
            _mm256_max_ps(_mm256_and_ps(magnitude, _mm256_loadu_ps(x + k)), all);
        float max = largest(all);
        bool tiny = max < QUANTIZE_TINY;
        float inverse = tiny ? 0 : 127 / max;
        __m128i q0 = round_clamped(x, inverse), q1 = round_clamped(x + 16, inverse);
        int32_t half0 = sum_bytes(q0), half1 = sum_bytes(q1);
        _mm_store_si128((__m128i *)(void *)blocks->q, q0);
        _mm_store_si128((__m128i *)(void *)(blocks->q + 16), q1);
        blocks->scale = tiny ? 0 : max / 127;
        blocks->sum = (float)(half0 + half1);
        blocks->minus_8_sum = -8 * (half0 + half1);
        blocks->minus_128_sum = -128 * (half0 + half1);
        blocks->minus_32_sum[0] = -32 * half0;
        blocks->minus_32_sum[1] = -32 * half1;
    }
}
#endif
