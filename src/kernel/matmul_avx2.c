/* matmul_avx2.c: the products for AVX2, and its activations. */
#if defined(__x86_64__)
#include "kernel/matmul_avx2.h"
#include "kernel/matmul_reference.h"
#include "kernel/tile_avx2.h"

#include "kernel/matmul_float_x86.h"
#include "kernel/matmul_integer_x86.h"

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
        keep_sums(blocks, half0, half1);
    }
}
#endif
