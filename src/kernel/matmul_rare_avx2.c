/* matmul_rare_avx2.c: the products for AVX2 of the types fewer models use. */
#if defined(__x86_64__)
#include "kernel/matmul_avx2.h"
#include "kernel/tile_avx2.h"

#include "kernel/matmul_rare_x86.h"
#endif
