/* exponential.c: the plain exp and tanh that all instruction sets agree with. */
#include "kernel/exponential.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel/vector_reference.h"

/* exp(x) = power · (1 + r · slope) */
typedef struct exp_parts {
    float r, slope, power;
} exp_parts;

/* x from EXP_LOWEST to EXP_HIGHEST */
static exp_parts exp_parts_of(float x)
{
    float n = rintf(x * EXP_LOG2_E);
    exp_parts e = {.r = fmaf(n, -EXP_LN_2_LOW, fmaf(n, -EXP_LN_2_HIGH, x)), .slope = EXP_C7};
    e.slope = fmaf(e.slope, e.r, EXP_C6);
    e.slope = fmaf(e.slope, e.r, EXP_C5);
    e.slope = fmaf(e.slope, e.r, EXP_C4);
    e.slope = fmaf(e.slope, e.r, EXP_C3);
    e.slope = fmaf(e.slope, e.r, EXP_C2);
    e.slope = fmaf(e.slope, e.r, 1);
    uint32_t bits = (uint32_t)((int32_t)n + 127) << 23; /* 2^n */
    memcpy(&e.power, &bits, sizeof bits);
    return e;
}

float reference_exp(float x)
{
    if (!(x >= EXP_LOWEST)) /* also −∞ */
        return 0;
    exp_parts e = exp_parts_of(x > EXP_HIGHEST ? EXP_HIGHEST : x);
    return fmaf(e.slope, e.r, 1) * e.power;
}

float reference_tanh(float x)
{
    float twice = -2 * fabsf(x);
    if (isnan(twice))
        return x;
    exp_parts e = exp_parts_of(twice < EXP_LOWEST ? EXP_LOWEST : twice);
    float less_one = fmaf(e.r * e.slope, e.power, e.power - 1);
    return copysignf(less_one / (2 + less_one), x);
}
