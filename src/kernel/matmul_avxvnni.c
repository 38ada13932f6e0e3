/* matmul_avxvnni.c: the integer products for AVX2 with AVX-VNNI: those of AVX2 with the dot
 * products of that extension, which tile_avx2.h chooses. All else is AVX2's: see kernel.c. */
#if defined(__x86_64__)
#include "kernel/matmul_avxvnni.h"
#include "kernel/tile_avx2.h"

#include "kernel/matmul_integer_x86.h"
#include "kernel/matmul_rare_x86.h"
#endif
