/* matmul_rare_avx512.c: the products for AVX-512 with VNNI of the types fewer models use. */
#if defined(__x86_64__)
#include "kernel/matmul_avx512.h"
#include "kernel/tile_avx512.h"

#include "kernel/matmul_rare_x86.h"
#endif
