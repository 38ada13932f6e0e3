/* half.c: IEEE 754 binary16 to and from binary32, without help from the processor. */
#include "kernel/kernel.h"

#include <string.h>

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0x1f) { /* infinity; a NaN keeps its payload and becomes quiet */
        uint32_t quiet = mantissa != 0 ? 0x400000u : 0;
        return float_of_bits(sign | 0x7f800000u | quiet | mantissa << 13);
    }
    if (exponent == 0) { /* zero or subnormal: mantissa · 2^-24, exact in f32 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* x / 2^shift, rounded to nearest, ties to even. */
static uint32_t shift_round(uint32_t x, uint32_t shift)
{
    uint32_t half = 1u << (shift - 1);
    uint32_t rest = x & ((1u << shift) - 1);
    uint32_t result = x >> shift;
    if (rest > half || (rest == half && (result & 1u) != 0))
        result++;
    return result;
}

uint16_t f32_to_f16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) /* NaN */
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) /* normal; a carry out of the mantissa is the right exponent */
        return (uint16_t)(sign | (shift_round(magnitude, 13) - (112u << 10)));
    uint32_t exponent = magnitude >> 23;
    if (exponent < 102) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    return (uint16_t)(sign | shift_round(mantissa, 126 - exponent));
}
