/* matmul_avx512.h: the products for AVX-512 with VNNI. */
#ifndef KERNEL_MATMUL_AVX512_H
#define KERNEL_MATMUL_AVX512_H

#include "kernel/internal.h"

tile_function avx512_tile_f32, avx512_tile_f16, avx512_tile_bf16, avx512_tile_q8_0,
    avx512_tile_q4_0, avx512_tile_q4_k, avx512_tile_q5_k, avx512_tile_q6_k;

/* matmul_rare_avx512.c */
tile_function avx512_tile_q4_1, avx512_tile_q5_0, avx512_tile_q5_1, avx512_tile_iq4_nl,
    avx512_tile_mxfp4, avx512_tile_q2_k, avx512_tile_q3_k, avx512_tile_iq4_xs;

void avx512_quantize(activation_block *blocks, const float *x, size_t n_blocks);

#endif
