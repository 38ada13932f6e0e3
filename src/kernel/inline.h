/* inline.h: how the vector kernels ask for constant loops and inlined bodies, so that arrays of
 * registers stay in registers. */
#ifndef KERNEL_INLINE_H
#define KERNEL_INLINE_H

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#endif
