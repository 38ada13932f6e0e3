/* matmul_avxvnni.h: the integer products for AVX2 with AVX-VNNI. */
#ifndef KERNEL_MATMUL_AVXVNNI_H
#define KERNEL_MATMUL_AVXVNNI_H

#include "kernel/internal.h"

tile_function avxvnni_tile_q8_0, avxvnni_tile_q4_0, avxvnni_tile_q4_1, avxvnni_tile_q5_0,
    avxvnni_tile_q5_1, avxvnni_tile_iq4_nl, avxvnni_tile_mxfp4, avxvnni_tile_q2_k,
    avxvnni_tile_q3_k, avxvnni_tile_q4_k, avxvnni_tile_q5_k, avxvnni_tile_q6_k, avxvnni_tile_iq4_xs;

/* matmul_wide_avxvnni.c */
extern const wide_form avxvnni_wide_forms[PACKED_COUNT];

#endif
