/* matmul_wide_avxvnni.c: products with many columns for AVX2 with AVX-VNNI. */
#if defined(__x86_64__)
#include "kernel/matmul_avxvnni.h"
#include "kernel/tile_avx2.h"

#include "kernel/matmul_wide_x86.h"
#endif
