/* vector_avx512.c: the small vector operations for AVX-512, and the AVX-512 set itself. */
#if defined(__x86_64__)
#include "kernel/matmul_avx512.h"
#include "kernel/simd_avx512.h"
#include "kernel/vector_reference.h"
#include "kernel/x86_features.h"

/* The lanes that exist of the sixteen from i on. */
INLINE __mmask16 lanes_at(size_t i, size_t n)
{
    return n - i < LANES ? first_lanes(n - i) : 0xffff;
}

static void store_f16(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 values = _mm512_maskz_loadu_ps(lanes, src + i);
        __m256i halves = _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16(dst + i, lanes, halves);
    }
}

INLINE __mmask8 eight_at(size_t i, size_t n)
{
    return n - i < 8 ? (__mmask8)first_lanes(n - i) : 0xff;
}

INLINE __m512d load_eight(const float *x, __mmask8 lanes)
{
    return _mm512_cvtps_pd(_mm256_maskz_loadu_ps(lanes, x));
}

/* The tree of vector_reference.c. */
INLINE double sum_eight(__m512d a)
{
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    __m512d squares = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 8) {
        __m512d values = load_eight(x + i, eight_at(i, n));
        squares = _mm512_fmadd_pd(values, values, squares);
    }
    double mean = sum_eight(squares) / (double)n;
    __m512 factor = _mm512_set1_ps((float)(1 / sqrt(mean + (double)epsilon)));
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), factor);
        scaled = _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(lanes, weight + i));
        _mm512_mask_storeu_ps(out + i, lanes, scaled);
    }
}

static void layer_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    __m512d sums = _mm512_setzero_pd(), squares = sums;
    for (size_t i = 0; i < n; i += 8)
        sums = _mm512_add_pd(sums, load_eight(x + i, eight_at(i, n)));
    __m512d mean = _mm512_set1_pd(sum_eight(sums) / (double)n);
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = eight_at(i, n);
        __m512d difference = _mm512_maskz_sub_pd(lanes, load_eight(x + i, lanes), mean);
        squares = _mm512_fmadd_pd(difference, difference, squares);
    }
    double variance = sum_eight(squares) / (double)n;
    __m256 factor = _mm256_set1_ps((float)(1 / sqrt(variance + (double)epsilon)));
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = eight_at(i, n);
        __m256 centred = _mm512_cvtpd_ps(_mm512_sub_pd(load_eight(x + i, lanes), mean));
        __m256 scaled = _mm256_mul_ps(centred, factor);
        scaled = _mm256_mul_ps(scaled, _mm256_maskz_loadu_ps(lanes, weight + i));
        _mm256_mask_storeu_ps(out + i, lanes, scaled);
    }
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 sum =
            _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_maskz_loadu_ps(lanes, y + i));
        _mm512_mask_storeu_ps(x + i, lanes, sum);
    }
}

static void scale(float *out, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 product = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(factor));
        _mm512_mask_storeu_ps(out + i, lanes, product);
    }
}

static void soft_cap(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 share = _mm512_div_ps(_mm512_maskz_loadu_ps(lanes, x + i), _mm512_set1_ps(cap));
        __m512 capped = _mm512_mul_ps(_mm512_set1_ps(cap), hyperbolic_tangent(share));
        _mm512_mask_storeu_ps(x + i, lanes, capped);
    }
}

/* g · sigmoid(x) */
INLINE __m512 sigmoid_times(__m512 g, __m512 x)
{
    __m512 e = exponential(_mm512_sub_ps(_mm512_setzero_ps(), x));
    return _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1), e));
}

static void silu_multiply(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
        __m512 u = _mm512_maskz_loadu_ps(lanes, up + i);
        _mm512_mask_storeu_ps(gate + i, lanes, _mm512_mul_ps(sigmoid_times(g, g), u));
    }
}

static void gelu_multiply(float *gate, const float *up, size_t n)
{
    const __m512 cubic = _mm512_set1_ps(GELU_CUBIC), linear = _mm512_set1_ps(GELU_LINEAR);
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 g = _mm512_maskz_loadu_ps(lanes, gate + i);
        __m512 u = _mm512_maskz_loadu_ps(lanes, up + i);
        __m512 twice = _mm512_mul_ps(g, _mm512_fmadd_ps(_mm512_mul_ps(g, g), cubic, linear));
        _mm512_mask_storeu_ps(gate + i, lanes, _mm512_mul_ps(sigmoid_times(g, twice), u));
    }
}

/* Minimum and maximum give their second argument for a NaN. */
static void swiglu_oai_multiply(float *gate, const float *up, size_t n)
{
    const __m512 most = _mm512_set1_ps(SWIGLU_LIMIT), least = _mm512_set1_ps(-SWIGLU_LIMIT);
    for (size_t i = 0; i < n; i += LANES) {
        __mmask16 lanes = lanes_at(i, n);
        __m512 g = _mm512_min_ps(most, _mm512_maskz_loadu_ps(lanes, gate + i));
        __m512 u = _mm512_min_ps(most, _mm512_maskz_loadu_ps(lanes, up + i));
        u = _mm512_add_ps(_mm512_max_ps(least, u), _mm512_set1_ps(1));
        __m512 gated = sigmoid_times(g, _mm512_mul_ps(g, _mm512_set1_ps(SWIGLU_ALPHA)));
        _mm512_mask_storeu_ps(gate + i, lanes, _mm512_mul_ps(gated, u));
    }
}

static void rotate_adjacent(float *x, const float *cosines, const float *sines, size_t pairs)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    for (size_t i = 0; i < pairs; i += LANES / 2) {
        __mmask16 lanes = lanes_at(2 * i, 2 * pairs);
        __mmask8 angles = pairs - i < LANES / 2 ? (__mmask8)first_lanes(pairs - i) : 0xff;
        __m512 both = _mm512_maskz_loadu_ps(lanes, x + 2 * i);
        __m512 cosine = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(angles, cosines + i));
        __m512 sine = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(angles, sines + i));
        __m512 same = _mm512_mul_ps(both, _mm512_permutexvar_ps(twice, cosine));
        __m512 other =
            _mm512_mul_ps(_mm512_permute_ps(both, 0xb1), _mm512_permutexvar_ps(twice, sine));
        __m512 turned = _mm512_mask_sub_ps(_mm512_add_ps(same, other), 0x5555, same, other);
        _mm512_mask_storeu_ps(x + 2 * i, lanes, turned);
    }
}

static void rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout)
{
    if (layout == ROTATE_ADJACENT) {
        rotate_adjacent(x, cosines, sines, pairs);
        return;
    }
    for (size_t i = 0; i < pairs; i += LANES) {
        __mmask16 lanes = lanes_at(i, pairs);
        __m512 a = _mm512_maskz_loadu_ps(lanes, x + i);
        __m512 b = _mm512_maskz_loadu_ps(lanes, x + pairs + i);
        __m512 cosine = _mm512_maskz_loadu_ps(lanes, cosines + i);
        __m512 sine = _mm512_maskz_loadu_ps(lanes, sines + i);
        _mm512_mask_storeu_ps(x + i, lanes,
                              _mm512_sub_ps(_mm512_mul_ps(a, cosine), _mm512_mul_ps(b, sine)));
        _mm512_mask_storeu_ps(x + pairs + i, lanes,
                              _mm512_add_ps(_mm512_mul_ps(b, cosine), _mm512_mul_ps(a, sine)));
    }
}

/* Everything the Makefile lets the compiler use in the files *_avx512.c; this also asks whether the
 * operating system saves the registers. */
/* vmaxps gives the second of a NaN and a number: a NaN is passed over. Four maxima, so that their
 * latency does not count. */
static float largest(const float *x, size_t n)
{
    __m512 max[4];
    UNROLL for (size_t l = 0; l < 4; l++) max[l] = _mm512_set1_ps(-INFINITY);
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL for (size_t l = 0; l < 4; l++) max[l] =
            _mm512_max_ps(_mm512_loadu_ps(x + i + l * LANES), max[l]);
    for (; i < n; i += LANES)
        max[0] = _mm512_mask_max_ps(max[0], lanes_at(i, n),
                                    _mm512_maskz_loadu_ps(lanes_at(i, n), x + i), max[0]);
    return _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(max[0], max[1]), _mm512_max_ps(max[2], max[3])));
}

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("fma") && supports_f16c();
}

const kernel_set kernel_avx512 = {
    .name = "avx512",
    .supported = supported,
    .tile =
        {
            [PACKED_F32] = avx512_tile_f32,
            [PACKED_F16] = avx512_tile_f16,
            [PACKED_BF16] = avx512_tile_bf16,
            [PACKED_Q8_0] = avx512_tile_q8_0,
            [PACKED_Q4_0] = avx512_tile_q4_0,
            [PACKED_Q4_1] = avx512_tile_q4_1,
            [PACKED_Q5_0] = avx512_tile_q5_0,
            [PACKED_Q5_1] = avx512_tile_q5_1,
            [PACKED_IQ4_NL] = avx512_tile_iq4_nl,
            [PACKED_Q2_K] = avx512_tile_q2_k,
            [PACKED_Q3_K] = avx512_tile_q3_k,
            [PACKED_Q4_K] = avx512_tile_q4_k,
            [PACKED_Q5_K] = avx512_tile_q5_k,
            [PACKED_Q6_K] = avx512_tile_q6_k,
            [PACKED_IQ4_XS] = avx512_tile_iq4_xs,
            [PACKED_MXFP4] = avx512_tile_mxfp4,
        },
    .quantize = avx512_quantize,
    .pass_queries = PASS_QUERIES,
    .expand = avx512_expand,
    .expand_keys = avx512_expand_keys,
    .scores = avx512_scores,
    .softmax = avx512_softmax,
    .accumulate = avx512_accumulate,
    .store_f16 = store_f16,
    .rms_norm = rms_norm,
    .add = add,
    .scale = scale,
    .layer_norm = layer_norm,
    .soft_cap = soft_cap,
    .silu_multiply = silu_multiply,
    .gelu_multiply = gelu_multiply,
    .swiglu_oai_multiply = swiglu_oai_multiply,
    .rotate = rotate,
    .largest = largest,
};
#endif
