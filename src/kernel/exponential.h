/*
 * exponential.h: one way to compute exp in every instruction set, so that softmax, the gates
 * and tanh agree bit for bit between them.
 *
 * exp(x) = 2^n · exp(r) with n = round(x / ln 2) and |r| ≤ ln 2 / 2; exp(r) by its Taylor series to
 * r^7 (the next term is below 6e-9), Horner with fused multiply-adds. ln 2 is split in two floats
 * so that r is exact to well below one unit in the last place. Below EXP_LOWEST the result is 0.
 *
 * tanh(x) = −t / (2 + t) with x's sign, t = exp(−2|x|) − 1: the series without its 1 is exp(r) − 1
 * = r · slope, so t = 2^n · r · slope + (2^n − 1) loses nothing near zero, where n is 0.
 */
#ifndef KERNEL_EXPONENTIAL_H
#define KERNEL_EXPONENTIAL_H

#define EXP_LOWEST (-87.0f) /* 2^-126 < e^-87: no subnormal is made */
#define EXP_HIGHEST 88.0f
#define EXP_LOG2_E 0x1.715476p+0f
#define EXP_LN_2_HIGH 0x1.62e43p-1f
#define EXP_LN_2_LOW (-0x1.05c61p-29f)
#define EXP_C7 (1.0f / 5040)
#define EXP_C6 (1.0f / 720)
#define EXP_C5 (1.0f / 120)
#define EXP_C4 (1.0f / 24)
#define EXP_C3 (1.0f / 6)
#define EXP_C2 0.5f

/* The exponent of gelu's sigmoid: √(8/π) · (g + 0.044715 g³). */
#define GELU_LINEAR 1.5957691216057308f
#define GELU_CUBIC ((float)(0.044715 * 1.5957691216057308))

/* gpt-oss's gate. */
#define SWIGLU_LIMIT 7.0f
#define SWIGLU_ALPHA 1.702f

#endif
