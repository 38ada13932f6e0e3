/* matmul_wide_avx2.c: products with many columns for AVX2. */
#if defined(__x86_64__)
#include "kernel/matmul_avx2.h"
#include "kernel/tile_avx2.h"

#include "kernel/matmul_wide_x86.h"
#endif
