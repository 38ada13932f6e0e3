/* inline.h: how the vector kernels ask for constant loops and inlined bodies, so that arrays of
 * registers stay in registers. */
#ifndef KERNEL_INLINE_H
#define KERNEL_INLINE_H

#include <stddef.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* How far `next` lies from `at`, as prefetch_beside wants it; nothing next: as far as `at` itself.
 */
INLINE ptrdiff_t distance(const void *at, const void *next)
{
    return next == NULL ? 0 : (ptrdiff_t)((uintptr_t)next - (uintptr_t)at);
}

/* Asks for what lies `ahead` of what is read now. Past an array's end it does nothing; hence the
 * sum as an integer. */
INLINE void prefetch_beside(const char *at, ptrdiff_t ahead)
{
    __builtin_prefetch((const void *)((uintptr_t)at + (uintptr_t)ahead));
}

/* call(N), where N is the constant, of 1 to 8, that `n` is now: with it known, loops over it unroll
 * and what they sum stays in registers. No body is kept for more than `most`, a constant too. */
#define WITH_CONSTANT(n, most, call)                                                               \
    switch (n) {                                                                                   \
        CONSTANT_CASE(1, most, call)                                                               \
        CONSTANT_CASE(2, most, call)                                                               \
        CONSTANT_CASE(3, most, call)                                                               \
        CONSTANT_CASE(4, most, call)                                                               \
        CONSTANT_CASE(5, most, call)                                                               \
        CONSTANT_CASE(6, most, call)                                                               \
        CONSTANT_CASE(7, most, call)                                                               \
        CONSTANT_CASE(8, most, call)                                                               \
    }
#define CONSTANT_CASE(count, most, call)                                                           \
    case count:                                                                                    \
        if (count <= (most))                                                                       \
            call(count);                                                                           \
        break;

#endif
