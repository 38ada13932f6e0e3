/* matmul_neon.h: the products for NEON with dot products. */
#ifndef KERNEL_MATMUL_NEON_H
#define KERNEL_MATMUL_NEON_H

#include "kernel/internal.h"

tile_function neon_tile_f32, neon_tile_f16, neon_tile_bf16, neon_tile_q8_0, neon_tile_q4_0,
    neon_tile_q4_k, neon_tile_q5_k, neon_tile_q6_k;
/* matmul_rare_neon.c */
tile_function neon_tile_q4_1, neon_tile_q5_0, neon_tile_q5_1, neon_tile_iq4_nl, neon_tile_mxfp4,
    neon_tile_q2_k, neon_tile_q3_k, neon_tile_iq4_xs;

void neon_quantize(activation_block *blocks, const float *x, size_t n_blocks);

#endif
