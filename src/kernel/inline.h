/*
 * inline.h: how the vector kernels ask for constant loops and inlined bodies, so that arrays of
 * registers stay in registers. Under a sanitizer loops stay loops and one body serves every number
 * of columns: its checks on each access of fully unrolled code take the compiler ten minutes a
 * file.
 */
#ifndef KERNEL_INLINE_H
#define KERNEL_INLINE_H

#define INLINE static inline __attribute__((always_inline))
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLL
#define ONE_BODY 1 /* for every number of columns */
#else
#define UNROLL _Pragma("GCC unroll 16")
#define ONE_BODY 0
#endif

#endif
