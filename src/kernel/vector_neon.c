/* vector_neon.c: the small vector operations for NEON, and the NEON set itself. */
#if defined(__aarch64__)
#include "kernel/matmul_neon.h"
#include "kernel/simd_neon.h"
#include "kernel/vector_reference.h"

#include <asm/hwcap.h>
#include <sys/auxv.h>

static void store_f16(uint16_t *dst, const float *src, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vst1_u16(dst + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(src + i))));
    for (; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

/* As many sums as a norm has, two a register. */
typedef struct norm_sums {
    float64x2_t pair[NORM_LANES / 2];
} norm_sums;

INLINE norm_sums no_sums(void)
{
    float64x2_t zero = vdupq_n_f64(0);
    return (norm_sums){{zero, zero, zero, zero}};
}

#define EACH_PAIR UNROLL for (size_t j = 0; j < NORM_LANES / 2; j++)

INLINE float64x2_t load_two(const float *x)
{
    return vcvt_f64_f32(vld1_f32(x));
}

INLINE void store_sums(double lanes[NORM_LANES], norm_sums sums)
{
    EACH_PAIR vst1q_f64(lanes + 2 * j, sums.pair[j]);
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    norm_sums sums = no_sums();
    size_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        EACH_PAIR
        {
            float64x2_t two = load_two(x + i + 2 * j);
            sums.pair[j] = vfmaq_f64(sums.pair[j], two, two);
        }
    double lanes[NORM_LANES];
    store_sums(lanes, sums);
    for (; i < n; i++)
        lanes[i % NORM_LANES] += (double)x[i] * (double)x[i];
    float factor = (float)(1 / sqrt(reference_sum_lanes(lanes) / (double)n + (double)epsilon));
    for (i = 0; i + LANES <= n; i += LANES)
        vst1q_f32(out + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), factor), vld1q_f32(weight + i)));
    for (; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static double mean_of(const float *x, size_t n)
{
    norm_sums sums = no_sums();
    size_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        EACH_PAIR sums.pair[j] = vaddq_f64(sums.pair[j], load_two(x + i + 2 * j));
    double lanes[NORM_LANES];
    store_sums(lanes, sums);
    for (; i < n; i++)
        lanes[i % NORM_LANES] += (double)x[i];
    return reference_sum_lanes(lanes) / (double)n;
}

static double variance_of(const float *x, size_t n, double mean)
{
    norm_sums sums = no_sums();
    size_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        EACH_PAIR
        {
            float64x2_t difference = vsubq_f64(load_two(x + i + 2 * j), vdupq_n_f64(mean));
            sums.pair[j] = vfmaq_f64(sums.pair[j], difference, difference);
        }
    double lanes[NORM_LANES];
    store_sums(lanes, sums);
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
    for (; i + 2 <= n; i += 2) {
        float32x2_t centred = vcvt_f32_f64(vsubq_f64(load_two(x + i), vdupq_n_f64(mean)));
        vst1_f32(out + i, vmul_f32(vmul_n_f32(centred, factor), vld1_f32(weight + i)));
    }
    if (i < n)
        out[i] = (float)((double)x[i] - mean) * factor * weight[i];
}

static void add(float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vst1q_f32(x + i, vaddq_f32(vld1q_f32(x + i), vld1q_f32(y + i)));
    for (; i < n; i++)
        x[i] += y[i];
}

static void scale(float *out, const float *x, float factor, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vst1q_f32(out + i, vmulq_n_f32(vld1q_f32(x + i), factor));
    for (; i < n; i++)
        out[i] = x[i] * factor;
}

static void soft_cap(float *x, float cap, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float32x4_t share = vdivq_f32(vld1q_f32(x + i), vdupq_n_f32(cap));
        vst1q_f32(x + i, vmulq_n_f32(hyperbolic_tangent(share), cap));
    }
    reference_soft_cap(x + i, cap, n - i);
}

/* g · sigmoid(x) */
INLINE float32x4_t sigmoid_times(float32x4_t g, float32x4_t x)
{
    return vdivq_f32(g, vaddq_f32(vdupq_n_f32(1), exponential(vnegq_f32(x))));
}

static void silu_multiply(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float32x4_t g = vld1q_f32(gate + i);
        vst1q_f32(gate + i, vmulq_f32(sigmoid_times(g, g), vld1q_f32(up + i)));
    }
    for (; i < n; i++)
        gate[i] = gate[i] / (1 + reference_exp(-gate[i])) * up[i];
}

static void gelu_multiply(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t slope = vfmaq_n_f32(vdupq_n_f32(GELU_LINEAR), vmulq_f32(g, g), GELU_CUBIC);
        float32x4_t gated = sigmoid_times(g, vmulq_f32(g, slope));
        vst1q_f32(gate + i, vmulq_f32(gated, vld1q_f32(up + i)));
    }
    reference_gelu_multiply(gate + i, up + i, n - i);
}

static void swiglu_oai_multiply(float *gate, const float *up, size_t n)
{
    const float32x4_t most = vdupq_n_f32(SWIGLU_LIMIT), least = vdupq_n_f32(-SWIGLU_LIMIT);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float32x4_t g = vminq_f32(vld1q_f32(gate + i), most);
        float32x4_t u = vmaxq_f32(vminq_f32(vld1q_f32(up + i), most), least);
        float32x4_t gated = sigmoid_times(g, vmulq_n_f32(g, SWIGLU_ALPHA));
        vst1q_f32(gate + i, vmulq_f32(gated, vaddq_f32(u, vdupq_n_f32(1))));
    }
    reference_swiglu_oai_multiply(gate + i, up + i, n - i);
}

/* Four pairs (a, b), turned. */
INLINE float32x4x2_t turned(float32x4_t a, float32x4_t b, float32x4_t cosine, float32x4_t sine)
{
    float32x4_t a_cos = vmulq_f32(a, cosine), a_sin = vmulq_f32(a, sine);
    float32x4_t b_cos = vmulq_f32(b, cosine), b_sin = vmulq_f32(b, sine);
    return (float32x4x2_t){{vsubq_f32(a_cos, b_sin), vaddq_f32(b_cos, a_sin)}};
}

static void rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout)
{
    size_t i = 0;
    for (; i + LANES <= pairs; i += LANES) {
        float32x4_t cosine = vld1q_f32(cosines + i), sine = vld1q_f32(sines + i);
        if (layout == ROTATE_ADJACENT) {
            float32x4x2_t both = vld2q_f32(x + 2 * i);
            vst2q_f32(x + 2 * i, turned(both.val[0], both.val[1], cosine, sine));
        } else {
            float32x4x2_t both = turned(vld1q_f32(x + i), vld1q_f32(x + pairs + i), cosine, sine);
            vst1q_f32(x + i, both.val[0]);
            vst1q_f32(x + pairs + i, both.val[1]);
        }
    }
    reference_rotate_from(x, cosines, sines, pairs, layout, i);
}

/* fmaxnm gives the number of a NaN and a number. Four maxima, so that their latency does not count.
 */
static float largest(const float *x, size_t n)
{
    float32x4_t max[4];
    for (size_t l = 0; l < 4; l++)
        max[l] = vdupq_n_f32(-INFINITY);
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (size_t l = 0; l < 4; l++)
            max[l] = vmaxnmq_f32(vld1q_f32(x + i + l * LANES), max[l]);
    float best =
        vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(max[0], max[1]), vmaxnmq_f32(max[2], max[3])));
    for (; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

static bool supported(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

const kernel_set kernel_neon = {
    .name = "neon",
    .supported = supported,
    .tile =
        {
            [PACKED_F32] = neon_tile_f32,
            [PACKED_F16] = neon_tile_f16,
            [PACKED_BF16] = neon_tile_bf16,
            [PACKED_Q8_0] = neon_tile_q8_0,
            [PACKED_Q4_0] = neon_tile_q4_0,
            [PACKED_Q4_1] = neon_tile_q4_1,
            [PACKED_Q5_0] = neon_tile_q5_0,
            [PACKED_Q5_1] = neon_tile_q5_1,
            [PACKED_IQ4_NL] = neon_tile_iq4_nl,
            [PACKED_Q2_K] = neon_tile_q2_k,
            [PACKED_Q3_K] = neon_tile_q3_k,
            [PACKED_Q4_K] = neon_tile_q4_k,
            [PACKED_Q5_K] = neon_tile_q5_k,
            [PACKED_Q6_K] = neon_tile_q6_k,
            [PACKED_IQ4_XS] = neon_tile_iq4_xs,
            [PACKED_MXFP4] = neon_tile_mxfp4,
        },
    .quantize = neon_quantize,
    .pass_queries = 4,
    .expand = neon_expand,
    .expand_keys = neon_expand_keys,
    .scores = neon_scores,
    .softmax = neon_softmax,
    .accumulate = neon_accumulate,
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
