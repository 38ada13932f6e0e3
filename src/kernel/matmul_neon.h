/* matmul_neon.h: the products for NEON with dot products. */
#ifndef KERNEL_MATMUL_NEON_H
#define KERNEL_MATMUL_NEON_H

#include "kernel/internal.h"

tile_function neon_tile_f32, neon_tile_f16, neon_tile_bf16, neon_tile_q8_0, neon_tile_q4_0,
    neon_tile_q4_k, neon_tile_q5_k, neon_tile_q6_k;

void neon_quantize(activation_block *blocks, const float *x, size_t n_blocks);

#endif
