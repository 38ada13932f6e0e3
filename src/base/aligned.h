/* aligned.h: arrays that begin at a cache line, of a size that is checked. */
#ifndef BASE_ALIGNED_H
#define BASE_ALIGNED_H

#include <stdint.h>
#include <stdlib.h>

#define ALIGNED_BYTES ((size_t)64)

/* n items, not initialised, for free(); NULL: there is no memory, or no such size. */
static inline void *aligned_array(size_t n, size_t item_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, item_bytes, &bytes) || bytes > SIZE_MAX - ALIGNED_BYTES)
        return NULL;
    return aligned_alloc(ALIGNED_BYTES,
                         (bytes + ALIGNED_BYTES - 1) / ALIGNED_BYTES * ALIGNED_BYTES);
}

#endif
