/* prefetch.h: how the products ask for weights ahead of time. */
#ifndef KERNEL_PREFETCH_H
#define KERNEL_PREFETCH_H

#include "kernel/inline.h"

/* How far ahead of the arithmetic weights are asked for. The hardware's own prefetch does not keep
 * up once several columns slow the stream down. One line a load, never a burst: see docs/speed.md.
 */
enum { PREFETCH_BYTES = 8192 };

/* The address itself; the line that many bytes on is asked for. */
INLINE const void *with_prefetch(const void *address)
{
    __builtin_prefetch((const char *)address + PREFETCH_BYTES);
    return address;
}

#endif
