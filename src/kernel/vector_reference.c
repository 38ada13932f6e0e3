/* vector_reference.c: the small vector operations in portable C, and the reference set itself. */
#include "kernel/vector_reference.h"

#include <math.h>
#include <string.h>

#include "kernel/exponential.h"
#include "kernel/matmul_reference.h"

float reference_exp(float x)
{
    if (!(x >= EXP_LOWEST)) /* also −∞ */
        return 0;
    x = x > EXP_HIGHEST ? EXP_HIGHEST : x;
    float n = rintf(x * EXP_LOG2_E);
    float r = fmaf(n, -EXP_LN_2_LOW, fmaf(n, -EXP_LN_2_HIGH, x));
    float p = EXP_C7;
    p = fmaf(p, r, EXP_C6);
    p = fmaf(p, r, EXP_C5);
    p = fmaf(p, r, EXP_C4);
    p = fmaf(p, r, EXP_C3);
    p = fmaf(p, r, EXP_C2);
    p = fmaf(p, r, 1);
    p = fmaf(p, r, 1);
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23; /* 2^n */
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static void store_f16(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

/* The sum of squares in double, where a square is exact; eight partial sums added up as a tree. */
static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    double lanes[8] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % 8] += (double)x[i] * (double)x[i];
    for (size_t half = 4; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    float factor = (float)(1 / sqrt(lanes[0] / (double)n + (double)epsilon));
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void scale(float *out, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * factor;
}

static void silu_multiply(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1 + reference_exp(-gate[i])) * up[i];
}

/* The pairs from `first` on. Names for the products, so that no compiler fuses them with the sum.
 */
void reference_rotate_from(float *x, const float *cosines, const float *sines, size_t pairs,
                           rotate_layout layout, size_t first)
{
    size_t step = layout == ROTATE_ADJACENT ? 2 : 1;
    size_t partner = layout == ROTATE_ADJACENT ? 1 : pairs;
    for (size_t i = first; i < pairs; i++) {
        float *a = x + i * step, *b = a + partner;
        float a_cos = *a * cosines[i], a_sin = *a * sines[i];
        float b_cos = *b * cosines[i], b_sin = *b * sines[i];
        *a = a_cos - b_sin;
        *b = b_cos + a_sin;
    }
}

static void rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout)
{
    reference_rotate_from(x, cosines, sines, pairs, layout, 0);
}

static bool always(void)
{
    return true;
}

static float largest(const float *x, size_t n)
{
    float best = -INFINITY;
    for (size_t i = 0; i < n; i++)
        best = x[i] > best ? x[i] : best;
    return best;
}

const kernel_set kernel_reference = {
    .name = "reference",
    .supported = always,
    .tile =
        {
            [PACKED_F32] = reference_tile_f32,
            [PACKED_F16] = reference_tile_f16,
            [PACKED_BF16] = reference_tile_bf16,
            [PACKED_Q8_0] = reference_tile_q8_0,
            [PACKED_Q4_0] = reference_tile_q4_0,
            [PACKED_Q4_1] = reference_tile_q4_1,
            [PACKED_Q5_0] = reference_tile_q5_0,
            [PACKED_Q5_1] = reference_tile_q5_1,
            [PACKED_IQ4_NL] = reference_tile_iq4_nl,
            [PACKED_Q2_K] = reference_tile_q2_k,
            [PACKED_Q3_K] = reference_tile_q3_k,
            [PACKED_Q4_K] = reference_tile_q4_k,
            [PACKED_Q5_K] = reference_tile_q5_k,
            [PACKED_Q6_K] = reference_tile_q6_k,
            [PACKED_IQ4_XS] = reference_tile_iq4_xs,
        },
    .quantize = reference_quantize,
    .expand = reference_expand,
    .scores = reference_scores,
    .softmax = reference_softmax,
    .accumulate = reference_accumulate,
    .store_f16 = store_f16,
    .rms_norm = rms_norm,
    .add = add,
    .scale = scale,
    .silu_multiply = silu_multiply,
    .rotate = rotate,
    .largest = largest,
};
