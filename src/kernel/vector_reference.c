/* vector_reference.c: the small vector operations in portable C, and the reference set itself. */
#include "kernel/vector_reference.h"

#include <math.h>

#include "kernel/exponential.h"
#include "kernel/matmul_reference.h"

static void store_f16(uint16_t *dst, const float *src, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = f32_to_f16(src[i]);
}

double reference_sum_lanes(double lanes[NORM_LANES])
{
    for (size_t half = NORM_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* The sum of squares in double, where a square is exact; eight partial sums added up as a tree. */
static void rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    double lanes[NORM_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % NORM_LANES] += (double)x[i] * (double)x[i];
    float factor = (float)(1 / sqrt(reference_sum_lanes(lanes) / (double)n + (double)epsilon));
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

/* In double as rms_norm, but with two passes, as squares of what is not near zero would lose the
 * variance. */
static void layer_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    double sums[NORM_LANES] = {0}, squares[NORM_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        sums[i % NORM_LANES] += (double)x[i];
    double mean = reference_sum_lanes(sums) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double difference = (double)x[i] - mean;
        double *lane = &squares[i % NORM_LANES];
        *lane = fma(difference, difference, *lane);
    }
    double variance = reference_sum_lanes(squares) / (double)n;
    float factor = (float)(1 / sqrt(variance + (double)epsilon));
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)x[i] - mean) * factor * weight[i];
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

void reference_soft_cap(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = cap * reference_tanh(x[i] / cap);
}

/* (1 + tanh(u)) / 2 = 1 / (1 + exp(−2u)), which loses nothing where tanh is near −1. */
void reference_gelu_multiply(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i], twice = g * fmaf(g * g, GELU_CUBIC, GELU_LINEAR);
        gate[i] = g / (1 + reference_exp(-twice)) * up[i];
    }
}

void reference_swiglu_oai_multiply(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i] > SWIGLU_LIMIT ? SWIGLU_LIMIT : gate[i];
        float u = up[i] > SWIGLU_LIMIT ? SWIGLU_LIMIT : up[i];
        u = u < -SWIGLU_LIMIT ? -SWIGLU_LIMIT : u;
        gate[i] = g / (1 + reference_exp(g * -SWIGLU_ALPHA)) * (u + 1);
    }
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
            [PACKED_MXFP4] = reference_tile_mxfp4,
        },
    .quantize = reference_quantize,
    .pass_queries = 4,
    .expand = reference_expand,
    .expand_keys = reference_expand_keys,
    .scores = reference_scores,
    .softmax = reference_softmax,
    .accumulate = reference_accumulate,
    .store_f16 = store_f16,
    .rms_norm = rms_norm,
    .add = add,
    .scale = scale,
    .layer_norm = layer_norm,
    .soft_cap = reference_soft_cap,
    .silu_multiply = silu_multiply,
    .gelu_multiply = reference_gelu_multiply,
    .swiglu_oai_multiply = reference_swiglu_oai_multiply,
    .rotate = rotate,
    .largest = largest,
};
