/* vector_neon.c: the small vector operations for NEON, and the NEON set itself. */
#if defined(__aarch64__)
#include "kernel/matmul_neon.h"
#include "kernel/matmul_reference.h"
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

static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    enum { SUMS = 8 };
    float64x2_t sums[SUMS / 2];
    UNROLL for (size_t j = 0; j < SUMS / 2; j++) sums[j] = vdupq_n_f64(0);
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        UNROLL for (size_t j = 0; j < SUMS / 2; j++)
        {
            float64x2_t two = vcvt_f64_f32(vld1_f32(x + i + 2 * j));
            sums[j] = vfmaq_f64(sums[j], two, two);
        }
    double lanes[SUMS];
    UNROLL for (size_t j = 0; j < SUMS / 2; j++) vst1q_f64(lanes + 2 * j, sums[j]);
    for (; i < n; i++)
        lanes[i % SUMS] += (double)x[i] * (double)x[i];
    for (size_t half = SUMS / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    float factor = (float)(1 / sqrt(lanes[0] / (double)n + (double)epsilon));
    for (i = 0; i + LANES <= n; i += LANES)
        vst1q_f32(out + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), factor), vld1q_f32(weight + i)));
    for (; i < n; i++)
        out[i] = x[i] * factor * weight[i];
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

static void silu_multiply(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        float32x4_t g = vld1q_f32(gate + i);
        float32x4_t e = exponential(vnegq_f32(g));
        float32x4_t silu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1), e));
        vst1q_f32(gate + i, vmulq_f32(silu, vld1q_f32(up + i)));
    }
    for (; i < n; i++)
        gate[i] = gate[i] / (1 + reference_exp(-gate[i])) * up[i];
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
            [PACKED_MXFP4] = reference_tile_mxfp4,
        },
    .quantize = neon_quantize,
    .expand = neon_expand,
    .scores = neon_scores,
    .softmax = neon_softmax,
    .accumulate = neon_accumulate,
    .store_f16 = store_f16,
    .rms_norm = rms_norm,
    .add = add,
    .scale = scale,
    .layer_norm = reference_layer_norm,
    .soft_cap = reference_soft_cap,
    .silu_multiply = silu_multiply,
    .gelu_multiply = reference_gelu_multiply,
    .swiglu_oai_multiply = reference_swiglu_oai_multiply,
    .rotate = rotate,
    .largest = largest,
};
#endif
