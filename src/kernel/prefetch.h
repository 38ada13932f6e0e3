/* prefetch.h: how the products ask for weights ahead of time. */
#ifndef KERNEL_PREFETCH_H
#define KERNEL_PREFETCH_H

#include <stddef.h>

#include "kernel/inline.h"

/* How far ahead of the arithmetic weights are asked for. The hardware's own prefetch does not keep
 * up once several columns, or much unpacking, slow the stream down. One line a load, never a burst,
 * and never twice: see docs/speed.md. */
enum {
    PREFETCH_BYTES = 8192,
    PREFETCH_NEAR_BYTES = 6144,
    PREFETCH_NEAREST_BYTES = 2048,
    PREFETCH_NONE = 0,
    PREFETCH_LINE = 64, /* what one request brings */
    ASKED_FOR = 0       /* columns of what others ask for: wide forms' tiles, a slice before */
};

/* The address itself; the line `ahead` bytes on is asked for. */
INLINE const void *with_prefetch_at(const void *address, size_t ahead)
{
    if (!__builtin_constant_p(ahead) || ahead != PREFETCH_NONE) /* no branch in a product */
        __builtin_prefetch((const char *)address + ahead);
    return address;
}

/* What is best on this processor, by the columns of a product. */
typedef struct prefetch_distances {
    size_t one, several;
    size_t few_of_bytes; /* two to five columns of Q8_0, which need no unpacking */
} prefetch_distances;

extern prefetch_distances prefetch;
/* Sets them; from kernel_init. */
void prefetch_choose(void);

INLINE size_t prefetch_ahead(size_t columns)
{
    if (columns == ASKED_FOR)
        return PREFETCH_NONE;
    return columns == 1 ? prefetch.one : prefetch.several;
}

/* Where no processor's own distance was measured. */
INLINE const void *with_prefetch(const void *address)
{
    return with_prefetch_at(address, PREFETCH_BYTES);
}

#endif
