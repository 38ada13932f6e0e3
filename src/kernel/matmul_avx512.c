/* matmul_avx512.c: the products for AVX-512 with VNNI, and its activations. */
#if defined(__x86_64__)
#include "kernel/matmul_avx512.h"
#include "kernel/matmul_reference.h"
#include "kernel/tile_avx512.h"

#include "kernel/matmul_float_x86.h"
#include "kernel/matmul_integer_x86.h"

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
        keep_sums(blocks, half0, half1);
    }
}
#endif
