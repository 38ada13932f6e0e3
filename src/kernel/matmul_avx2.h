/* matmul_avx2.h: the products for AVX2. */
#ifndef KERNEL_MATMUL_AVX2_H
#define KERNEL_MATMUL_AVX2_H

#include "kernel/internal.h"

tile_function avx2_tile_f32, avx2_tile_f16, avx2_tile_bf16, avx2_tile_q8_0, avx2_tile_q4_0,
    avx2_tile_q4_k, avx2_tile_q5_k, avx2_tile_q6_k;

/* matmul_rare_avx2.c */
tile_function avx2_tile_q4_1, avx2_tile_q5_0, avx2_tile_q5_1, avx2_tile_iq4_nl, avx2_tile_mxfp4,
    avx2_tile_q2_k, avx2_tile_q3_k, avx2_tile_iq4_xs;

/* matmul_wide_avx2.c */
extern const wide_form avx2_wide_forms[PACKED_COUNT];

void avx2_quantize(activation_block *blocks, const float *x, size_t n_blocks);

#endif
