/* simd_neon.h: what the products, attention and the vector operations share in NEON. Included only
 * by the files *_neon.c. */
#ifndef KERNEL_SIMD_NEON_H
#define KERNEL_SIMD_NEON_H

#include "kernel/internal.h"

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "kernel/exponential.h"
#include "kernel/inline.h"

enum { LANES = 4 };

INLINE float32x4_t load_f16(const uint16_t *halves)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves)));
}

/* The larger of two, b where either is NaN: what `a > b ? a : b` says. */
INLINE float32x4_t larger(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

INLINE float largest_lane(float32x4_t a)
{
    float lanes[LANES];
    vst1q_f32(lanes, a);
    float low = lanes[0] > lanes[1] ? lanes[0] : lanes[1];
    float high = lanes[2] > lanes[3] ? lanes[2] : lanes[3];
    return low > high ? low : high;
}

/* exp(x) = power · (1 + r · slope), as exponential.h says; x from EXP_LOWEST to EXP_HIGHEST. */
typedef struct exp_parts {
    float32x4_t r, slope, power;
} exp_parts;

INLINE exp_parts exp_parts_of(float32x4_t x)
{
    float32x4_t n = vrndnq_f32(vmulq_n_f32(x, EXP_LOG2_E));
    exp_parts e = {.r = vfmaq_n_f32(x, n, -EXP_LN_2_HIGH), .slope = vdupq_n_f32(EXP_C7)};
    e.r = vfmaq_n_f32(e.r, n, -EXP_LN_2_LOW);
    e.slope = vfmaq_f32(vdupq_n_f32(EXP_C6), e.slope, e.r);
    e.slope = vfmaq_f32(vdupq_n_f32(EXP_C5), e.slope, e.r);
    e.slope = vfmaq_f32(vdupq_n_f32(EXP_C4), e.slope, e.r);
    e.slope = vfmaq_f32(vdupq_n_f32(EXP_C3), e.slope, e.r);
    e.slope = vfmaq_f32(vdupq_n_f32(EXP_C2), e.slope, e.r);
    e.slope = vfmaq_f32(vdupq_n_f32(1), e.slope, e.r);
    int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    e.power = vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
    return e;
}

INLINE float32x4_t exponential(float32x4_t x)
{
    uint32x4_t above = vcgeq_f32(x, vdupq_n_f32(EXP_LOWEST));
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(EXP_LOWEST)), vdupq_n_f32(EXP_HIGHEST));
    exp_parts e = exp_parts_of(x);
    float32x4_t product = vmulq_f32(vfmaq_f32(vdupq_n_f32(1), e.slope, e.r), e.power);
    return vreinterpretq_f32_u32(vandq_u32(above, vreinterpretq_u32_f32(product)));
}

/* tanh, as exponential.h says. */
INLINE float32x4_t hyperbolic_tangent(float32x4_t x)
{
    float32x4_t twice = vmulq_n_f32(vabsq_f32(x), -2);
    exp_parts e = exp_parts_of(vmaxq_f32(vdupq_n_f32(EXP_LOWEST), twice));
    float32x4_t less_one = vsubq_f32(e.power, vdupq_n_f32(1));
    less_one = vfmaq_f32(less_one, vmulq_f32(e.r, e.slope), e.power);
    float32x4_t value = vdivq_f32(less_one, vaddq_f32(vdupq_n_f32(2), less_one));
    return vbslq_f32(vdupq_n_u32(0x80000000), x, value);
}

/* Sixteen partial sums, by the tree of attention_reference.c: four of eight, not yet added up. */
INLINE float32x4_t sum_to_four(const float32x4_t sums[4])
{
    return vaddq_f32(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
}

/* a[l] + a[l + 2] in the low half, b[l] + b[l + 2] in the high one. */
INLINE float32x4_t sum_to_two(float32x4_t a, float32x4_t b)
{
    return vaddq_f32(vcombine_f32(vget_low_f32(a), vget_low_f32(b)),
                     vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
}

/* The four sums of four times four lanes: lanes l and l + 2, then l + 1. */
INLINE float32x4_t sum_four(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d)
{
    return vpaddq_f32(sum_to_two(a, b), sum_to_two(c, d));
}

void neon_expand(kv_type type, float *dst, const void *src, size_t n, const void *next);
void neon_expand_keys(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                      const void *next);
void neon_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                 size_t head_dim, const void *next, float *s);
float neon_softmax(float *s, size_t n, float *max, float *sum);
void neon_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                     size_t n_queries, const void *v, size_t n, size_t head_dim, const void *next);

#endif
