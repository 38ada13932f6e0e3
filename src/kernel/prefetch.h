/* prefetch.h: how the products ask for weights ahead of time. */
#ifndef KERNEL_PREFETCH_H
#define KERNEL_PREFETCH_H

#include <stddef.h>

#include "kernel/inline.h"

/* How far ahead of the arithmetic weights are asked for. The hardware's own prefetch does not keep
 * up once several columns, or much unpacking, slow the stream down. One line a load, never a burst,
 * and never twice: see docs/speed.md. */
enum { PREFETCH_BYTES = 8192, PREFETCH_NEAR_BYTES = 6144, PREFETCH_NONE = 0 };

/* The address itself; the line `ahead` bytes on is asked for. */
INLINE const void *with_prefetch_at(const void *address, size_t ahead)
{
    if (ahead != PREFETCH_NONE)
        __builtin_prefetch((const char *)address + ahead);
    return address;
}

INLINE const void *with_prefetch(const void *address)
{
    return with_prefetch_at(address, PREFETCH_BYTES);
}

#endif
