/* vector_avx2.c: the small vector operations for AVX2, and the AVX2 set itself. */
#if defined(__x86_64__)
#include "kernel/matmul_avx2.h"
#include "kernel/simd_avx2.h"
#include "kernel/vector_reference.h"
#include "kernel/x86_features.h"

static void store_f16(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(src + i),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i *)(void *)(dst + i), halves);
    }
    for (; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

/* Four values in double. */
INLINE __m256d load_double(const float *x)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(x));
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    __m256d low = _mm256_setzero_pd(), high = low;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256d a = load_double(x + i), b = load_double(x + i + 4);
        low = _mm256_fmadd_pd(a, a, low);
        high = _mm256_fmadd_pd(b, b, high);
    }
    double lanes[NORM_LANES];
    _mm256_storeu_pd(lanes, low);
    _mm256_storeu_pd(lanes + 4, high);
    for (; i < n; i++)
        lanes[i % LANES] += (double)x[i] * (double)x[i];
    float factor = (float)(1 / sqrt(reference_sum_lanes(lanes) / (double)n + (double)epsilon));
    for (i = 0; i + LANES <= n; i += LANES) {
        __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
    }
    for (; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static double mean_of(const float *x, size_t n)
{
    __m256d low = _mm256_setzero_pd(), high = low;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        low = _mm256_add_pd(low, load_double(x + i));
        high = _mm256_add_pd(high, load_double(x + i + 4));
    }
    double lanes[NORM_LANES];
    _mm256_storeu_pd(lanes, low);
    _mm256_storeu_pd(lanes + 4, high);
    for (; i < n; i++)
        lanes[i % NORM_LANES] += (double)x[i];
    return reference_sum_lanes(lanes) / (double)n;
}

static double variance_of(const float *x, size_t n, double mean)
{
    __m256d low = _mm256_setzero_pd(), high = low, middle = _mm256_set1_pd(mean);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256d a = _mm256_sub_pd(load_double(x + i), middle);
        __m256d b = _mm256_sub_pd(load_double(x + i + 4), middle);
        low = _mm256_fmadd_pd(a, a, low);
        high = _mm256_fmadd_pd(b, b, high);
    }
    double lanes[NORM_LANES];
    _mm256_storeu_pd(lanes, low);
    _mm256_storeu_pd(lanes + 4, high);
    for (; i < n; i++) {
        double difference = (double)x[i] - mean;
        lanes[i % NORM_LANES] = fma(difference, difference, lanes[i % NORM_LANES]);
    }
    return reference_sum_lanes(lanes) / (double)n;
}

static void layer_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    double mean = mean_of(x, n);
    float factor = (float)(1 / sqrt(variance_of(x, n, mean) + (double)epsilon));
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m128 centred = _mm256_cvtpd_ps(_mm256_sub_pd(load_double(x + i), _mm256_set1_pd(mean)));
        __m128 scaled = _mm_mul_ps(centred, _mm_set1_ps(factor));
        _mm_storeu_ps(out + i, _mm_mul_ps(scaled, _mm_loadu_ps(weight + i)));
    }
    for (; i < n; i++)
        out[i] = (float)((double)x[i] - mean) * factor * weight[i];
}

static void add(float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_ps(x + i, _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++)
        x[i] += y[i];
}

static void scale(float *out, const float *x, float factor, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor)));
    for (; i < n; i++)
        out[i] = x[i] * factor;
}

static void soft_cap(float *x, float cap, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256 share = _mm256_div_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(cap));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_set1_ps(cap), hyperbolic_tangent(share)));
    }
    reference_soft_cap(x + i, cap, n - i);
}

/* g · sigmoid(x) */
INLINE __m256 sigmoid_times(__m256 g, __m256 x)
{
    __m256 e = exponential(_mm256_sub_ps(_mm256_setzero_ps(), x));
    return _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1), e));
}

static void silu_multiply(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256 g = _mm256_loadu_ps(gate + i);
        _mm256_storeu_ps(gate + i, _mm256_mul_ps(sigmoid_times(g, g), _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++)
        gate[i] = gate[i] / (1 + reference_exp(-gate[i])) * up[i];
}

static void gelu_multiply(float *gate, const float *up, size_t n)
{
    const __m256 cubic = _mm256_set1_ps(GELU_CUBIC), linear = _mm256_set1_ps(GELU_LINEAR);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 twice = _mm256_mul_ps(g, _mm256_fmadd_ps(_mm256_mul_ps(g, g), cubic, linear));
        _mm256_storeu_ps(gate + i, _mm256_mul_ps(sigmoid_times(g, twice), _mm256_loadu_ps(up + i)));
    }
    reference_gelu_multiply(gate + i, up + i, n - i);
}

/* Minimum and maximum give their second argument for a NaN. */
static void swiglu_oai_multiply(float *gate, const float *up, size_t n)
{
    const __m256 most = _mm256_set1_ps(SWIGLU_LIMIT), least = _mm256_set1_ps(-SWIGLU_LIMIT);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m256 g = _mm256_min_ps(most, _mm256_loadu_ps(gate + i));
        __m256 u = _mm256_max_ps(least, _mm256_min_ps(most, _mm256_loadu_ps(up + i)));
        __m256 gated = sigmoid_times(g, _mm256_mul_ps(g, _mm256_set1_ps(SWIGLU_ALPHA)));
        _mm256_storeu_ps(gate + i, _mm256_mul_ps(gated, _mm256_add_ps(u, _mm256_set1_ps(1))));
    }
    reference_swiglu_oai_multiply(gate + i, up + i, n - i);
}

static void rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout)
{
    size_t i = 0;
    for (; layout == ROTATE_HALVES && i + LANES <= pairs; i += LANES) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + pairs + i);
        __m256 cosine = _mm256_loadu_ps(cosines + i), sine = _mm256_loadu_ps(sines + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(a, cosine), _mm256_mul_ps(b, sine)));
        _mm256_storeu_ps(x + pairs + i,
                         _mm256_add_ps(_mm256_mul_ps(b, cosine), _mm256_mul_ps(a, sine)));
    }
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    for (; layout == ROTATE_ADJACENT && i + LANES / 2 <= pairs; i += LANES / 2) {
        __m256 both = _mm256_loadu_ps(x + 2 * i), swapped = _mm256_permute_ps(both, 0xb1);
        __m256 cosine = _mm256_castps128_ps256(_mm_loadu_ps(cosines + i));
        __m256 sine = _mm256_castps128_ps256(_mm_loadu_ps(sines + i));
        cosine = _mm256_permutevar8x32_ps(cosine, twice);
        sine = _mm256_permutevar8x32_ps(sine, twice);
        _mm256_storeu_ps(
            x + 2 * i, _mm256_addsub_ps(_mm256_mul_ps(both, cosine), _mm256_mul_ps(swapped, sine)));
    }
    reference_rotate_from(x, cosines, sines, pairs, layout, i);
}

/* vmaxps gives the second of a NaN and a number: a NaN is passed over. Four maxima, so that their
 * latency does not count. */
static float largest(const float *x, size_t n)
{
    __m256 max[4];
    UNROLL for (size_t l = 0; l < 4; l++) max[l] = _mm256_set1_ps(-INFINITY);
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL for (size_t l = 0; l < 4; l++) max[l] =
            _mm256_max_ps(_mm256_loadu_ps(x + i + l * LANES), max[l]);
    max[0] = _mm256_max_ps(_mm256_max_ps(max[0], max[1]), _mm256_max_ps(max[2], max[3]));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(max[0]), _mm256_extractf128_ps(max[0], 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    float best = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    for (; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

static bool supported(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && supports_f16c();
}

const kernel_set kernel_avx2 = {
    .name = "avx2",
    .supported = supported,
    .tile =
        {
            [PACKED_F32] = avx2_tile_f32,
            [PACKED_F16] = avx2_tile_f16,
            [PACKED_BF16] = avx2_tile_bf16,
            [PACKED_Q8_0] = avx2_tile_q8_0,
            [PACKED_Q4_0] = avx2_tile_q4_0,
            [PACKED_Q4_1] = avx2_tile_q4_1,
            [PACKED_Q5_0] = avx2_tile_q5_0,
            [PACKED_Q5_1] = avx2_tile_q5_1,
            [PACKED_IQ4_NL] = avx2_tile_iq4_nl,
            [PACKED_Q2_K] = avx2_tile_q2_k,
            [PACKED_Q3_K] = avx2_tile_q3_k,
            [PACKED_Q4_K] = avx2_tile_q4_k,
            [PACKED_Q5_K] = avx2_tile_q5_k,
            [PACKED_Q6_K] = avx2_tile_q6_k,
            [PACKED_IQ4_XS] = avx2_tile_iq4_xs,
            [PACKED_MXFP4] = avx2_tile_mxfp4,
        },
    .wide = avx2_wide_forms,
    .quantize = avx2_quantize,
    .pass_queries = 4,
    .expand = avx2_expand,
    .expand_keys = avx2_expand_keys,
    .scores = avx2_scores,
    .softmax = avx2_softmax,
    .accumulate = avx2_accumulate,
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
