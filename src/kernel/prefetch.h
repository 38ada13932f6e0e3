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
    if (!__builtin_constant_p(ahead) || ahead != PREFETCH_NONE) /* no branch in a product */
        __builtin_prefetch((const char *)address + ahead);
    return address;
}

/* What products of one column ask for: PREFETCH_BYTES, or nothing on processors that read ahead
 * better by themselves. */
extern size_t prefetch_one_column;
/* Sets it for this processor; from kernel_init. */
void prefetch_choose(void);

/* Where the number of columns is known, so is the answer but for one column. */
INLINE size_t prefetch_ahead(size_t columns)
{
    return columns == 1 ? prefetch_one_column : PREFETCH_BYTES;
}

INLINE const void *with_prefetch(const void *address)
{
    return with_prefetch_at(address, PREFETCH_BYTES);
}

#endif
