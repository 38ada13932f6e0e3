/*
 * matmul_avx512.c: the products for AVX-512 with VNNI. One register holds a quad of all sixteen
 * rows; vpdpbusd multiplies it with a broadcast quad of the activation, so no lane ever meets
 * another and each row's sum needs no horizontal step.
 *
 * Every function below is inlined with a constant number of columns, so that sums stay in
 * registers: at eight columns 8 integer and 8 float accumulators, and the weights are read once for
 * all of them.
 */
#if defined(__x86_64__)
#include "kernel/matmul_avx512.h"
#include "kernel/matmul_reference.h"
#include "kernel/tile_avx512.h"

/* ---- floats --------------------------------------------------------------------------------- */

typedef __m512 load_function(const void *record, size_t k);

INLINE __m512 load_f32(const void *record, size_t k)
{
    return _mm512_load_ps(with_prefetch(((const record_f32 *)record)->w[k]));
}

/* Two of these make a line. */
INLINE __m256i load_16_bits(const void *record, size_t k)
{
    const void *address = ((const record_f16 *)record)->w[k];
    return _mm256_load_si256(k % 2 == 0 ? with_prefetch(address) : address);
}

INLINE __m512 load_f16(const void *record, size_t k)
{
    return _mm512_cvtph_ps(load_16_bits(record, k));
}

INLINE __m512 load_bf16(const void *record, size_t k)
{
    __m512i wide = _mm512_cvtepu16_epi32(load_16_bits(record, k));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

INLINE void add_floats(load_function *load, const void *record, const char *x, size_t x_stride,
                       size_t columns, __m512 total[TILE_COLUMNS])
{
    __m512 even[TILE_COLUMNS], odd[TILE_COLUMNS];
    EACH_COLUMN even[c] = odd[c] = _mm512_setzero_ps();
    UNROLL for (size_t k = 0; k < BLOCK_COLUMNS; k += 2)
    {
        __m512 w0 = load(record, k), w1 = load(record, k + 1);
        EACH_COLUMN
        {
            const float *values = (const float *)(const void *)(x + c * x_stride);
            even[c] = _mm512_fmadd_ps(w0, _mm512_set1_ps(values[k]), even[c]);
            odd[c] = _mm512_fmadd_ps(w1, _mm512_set1_ps(values[k + 1]), odd[c]);
        }
    }
    EACH_COLUMN total[c] = _mm512_add_ps(total[c], _mm512_add_ps(even[c], odd[c]));
}

INLINE void add_f32(const void *record, const char *x, size_t x_stride, size_t columns,
                    __m512 total[TILE_COLUMNS])
{
    add_floats(load_f32, record, x, x_stride, columns, total);
}

INLINE void add_f16(const void *record, const char *x, size_t x_stride, size_t columns,
                    __m512 total[TILE_COLUMNS])
{
    add_floats(load_f16, record, x, x_stride, columns, total);
}

INLINE void add_bf16(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    add_floats(load_bf16, record, x, x_stride, columns, total);
}

DEFINE_TILE(f32, add_f32, record_f32, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(f16, add_f16, record_f16, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(bf16, add_bf16, record_f16, BLOCK_COLUMNS * sizeof(float))

/* ---- integers ------------------------------------------------------------------------------- */

INLINE void add_q8_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q8_0 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_set1_epi32(block_of(x, x_stride, c, b)->minus_128_sum);
        UNROLL for (size_t i = 0; i < BLOCK_QUADS; i++)
        {
            __m512i quad = load_quad(w->q[b][i]);
            EACH_COLUMN dot[c] = dot_quad(dot[c], quad, block_of(x, x_stride, c, b)->q + 4 * i);
        }
        __m512 d = load_halves(w->d[b]);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

INLINE void add_q4_0(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q4_0 *w = record;
    UNROLL for (size_t b = 0; b < 2; b++)
    {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_set1_epi32(block_of(x, x_stride, c, b)->minus_8_sum);
        dot_nibbles(w->q[b], x, x_stride, b, columns, dot);
        __m512 d = load_halves(w->d[b]);
        EACH_COLUMN total[c] = add_scaled(total[c], dot[c], d, block_of(x, x_stride, c, b));
    }
}

/* The scales of a Q4_K or Q5_K record, wanted by each of its blocks. */
typedef struct super_scales {
    __m512 d, dmin;
} super_scales;

INLINE super_scales load_scales(const record_q4_k *w)
{
    return (super_scales){load_halves(w->d), load_halves(w->dmin)};
}

/* Adds block b of every column, whose Σ q · x is dot, with scale and minimum. */
INLINE void add_with_min(const record_q4_k *w, super_scales super, size_t b, const char *x,
                         size_t x_stride, size_t columns, const __m512i dot[TILE_COLUMNS],
                         __m512 total[TILE_COLUMNS])
{
    /* Six-bit numbers: signed bytes hold them. */
    __m512 scale = _mm512_mul_ps(super.d, bytes_to_float(w->block[b].scale));
    __m512 min = _mm512_mul_ps(super.dmin, bytes_to_float(w->block[b].min));
    EACH_COLUMN
    {
        const activation_block *block = block_of(x, x_stride, c, b);
        __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[c]), scale);
        value = _mm512_fnmadd_ps(min, _mm512_set1_ps(block->sum), value);
        total[c] = _mm512_fmadd_ps(value, _mm512_set1_ps(block->scale), total[c]);
    }
}

INLINE void add_q4_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q4_k *w = record;
    super_scales super = load_scales(w);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_setzero_si512();
        dot_nibbles(w->q[b], x, x_stride, b, columns, dot);
        add_with_min(w, super, b, x, x_stride, columns, dot, total);
    }
}

INLINE void add_q5_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q5_k *w = record;
    super_scales super = load_scales(&w->low);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        __m512i dot[TILE_COLUMNS];
        EACH_COLUMN dot[c] = _mm512_setzero_si512();
        dot_five_bits(w->low.q[b], w->high[b], x, x_stride, b, columns, dot);
        add_with_min(&w->low, super, b, x, x_stride, columns, dot, total);
    }
}

/* Bits 2i, 2i + 1 of `high` become bits 4, 5 beside a nibble. */
INLINE __m512i six_bits(__m512i nibbles, __m512i high, int i)
{
    __m512i placed = high;
    if (i == 0)
        placed = _mm512_slli_epi16(high, 4);
    else if (i == 1)
        placed = _mm512_slli_epi16(high, 2);
    else if (i == 3)
        placed = _mm512_srli_epi16(high, 2);
    return _mm512_or_si512(nibbles, _mm512_and_si512(placed, _mm512_set1_epi8(0x30)));
}

INLINE void dot_six_bits(const record_q6_k *w, const char *x, size_t x_stride, size_t block,
                         size_t half, size_t columns, __m512i dot[TILE_COLUMNS])
{
    __m512i high = load_quad(w->block[block].high[half]);
    EACH_COLUMN dot[c] = _mm512_set1_epi32(block_of(x, x_stride, c, block)->minus_32_sum[half]);
    UNROLL for (size_t i = 0; i < BLOCK_QUADS / 2; i++)
    {
        __m512i both = load_quad(w->block[block].low[i]);
        __m512i quad = six_bits(half == 0 ? low_nibbles(both) : high_nibbles(both), high, (int)i);
        EACH_COLUMN
        {
            const int8_t *values = block_of(x, x_stride, c, block)->q + 16 * half + 4 * i;
            dot[c] = dot_quad(dot[c], quad, values);
        }
    }
}

INLINE void add_q6_k(const void *record, const char *x, size_t x_stride, size_t columns,
                     __m512 total[TILE_COLUMNS])
{
    const record_q6_k *w = record;
    __m512 d = load_halves(w->d);
    for (size_t b = 0; b < K_BLOCKS; b++) {
        __m512i dot[TILE_COLUMNS];
        __m512 value[TILE_COLUMNS];
        dot_six_bits(w, x, x_stride, b, 0, columns, dot);
        __m512 scale = _mm512_mul_ps(d, bytes_to_float(w->scale[b][0]));
        EACH_COLUMN value[c] = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[c]), scale);
        dot_six_bits(w, x, x_stride, b, 1, columns, dot);
        scale = _mm512_mul_ps(d, bytes_to_float(w->scale[b][1]));
        EACH_COLUMN
        {
            value[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[c]), scale, value[c]);
            __m512 x_scale = _mm512_set1_ps(block_of(x, x_stride, c, b)->scale);
            total[c] = _mm512_fmadd_ps(value[c], x_scale, total[c]);
        }
    }
}

DEFINE_TILE(q8_0, add_q8_0, record_q8_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_0, add_q4_0, record_q4_0, 2 * sizeof(activation_block))
DEFINE_TILE(q4_k, add_q4_k, record_q4_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q5_k, add_q5_k, record_q5_k, K_BLOCKS * sizeof(activation_block))
DEFINE_TILE(q6_k, add_q6_k, record_q6_k, K_BLOCKS * sizeof(activation_block))

/* ---- activations ---------------------------------------------------------------------------- */

INLINE __m512i round_clamped(__m512 x, float inverse)
{
    __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse)));
    return _mm512_max_epi32(_mm512_min_epi32(q, _mm512_set1_epi32(127)), _mm512_set1_epi32(-127));
}

void avx512_quantize(activation_block *blocks, const float *x, size_t n_blocks)
{
    for (size_t b = 0; b < n_blocks; b++, blocks++, x += BLOCK_COLUMNS) {
        __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        /* vmaxps gives the second of a NaN and a number: a NaN is passed over. */
        __m512 all = _mm512_max_ps(_mm512_abs_ps(x0), _mm512_setzero_ps());
        float max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(x1), all));
        bool tiny = max < QUANTIZE_TINY;
        float inverse = tiny ? 0 : 127 / max;
        __m512i q0 = round_clamped(x0, inverse), q1 = round_clamped(x1, inverse);
        int32_t half0 = _mm512_reduce_add_epi32(q0), half1 = _mm512_reduce_add_epi32(q1);
        _mm_store_si128((__m128i *)(void *)blocks->q, _mm512_cvtepi32_epi8(q0));
        _mm_store_si128((__m128i *)(void *)(blocks->q + 16), _mm512_cvtepi32_epi8(q1));
        blocks->scale = tiny ? 0 : max / 127;
        blocks->sum = (float)(half0 + half1);
        blocks->minus_8_sum = -8 * (half0 + half1);
        blocks->minus_128_sum = -128 * (half0 + half1);
        blocks->minus_32_sum[0] = -32 * half0;
        blocks->minus_32_sum[1] = -32 * half1;
    }
}
#endif
