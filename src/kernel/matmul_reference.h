/* matmul_reference.h: the portable products, which a set without its own may borrow. */
#ifndef KERNEL_MATMUL_REFERENCE_H
#define KERNEL_MATMUL_REFERENCE_H

#include "kernel/internal.h"

tile_function reference_tile_f32, reference_tile_f16, reference_tile_bf16, reference_tile_q8_0,
    reference_tile_q4_0, reference_tile_q4_1, reference_tile_q5_0, reference_tile_q5_1,
    reference_tile_iq4_nl, reference_tile_q2_k, reference_tile_q3_k, reference_tile_q4_k,
    reference_tile_q5_k, reference_tile_q6_k, reference_tile_iq4_xs, reference_tile_mxfp4;

/* A block whose largest value is below this becomes zero: 127 / max would overflow. */
#define QUANTIZE_TINY 1e-30f

/* What a block keeps of the sums of its two sixteens. */
static inline void keep_sums(activation_block *block, int32_t half0, int32_t half1)
{
    block->sum = (float)(half0 + half1);
    block->minus_8_sum = -8 * (half0 + half1);
    block->minus_128_sum = -128 * (half0 + half1);
    block->minus_32_sum[0] = -32 * half0;
    block->minus_32_sum[1] = -32 * half1;
    block->half_sum[0] = (int16_t)half0;
    block->half_sum[1] = (int16_t)half1;
    block->half_sum_4[0] = (int16_t)(4 * half0);
    block->half_sum_4[1] = (int16_t)(4 * half1);
}

void reference_quantize(activation_block *blocks, const float *x, size_t n_blocks);

#endif
