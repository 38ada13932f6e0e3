/*
 * weight_memory.h: where matrices are packed to: one range of addresses, reserved for a whole
 * model, backed by pages (huge ones where the system grants them) only as far as matrices fill it.
 *
 * One thread takes from it at a time.
 */
#ifndef KERNEL_WEIGHT_MEMORY_H
#define KERNEL_WEIGHT_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct weight_memory weight_memory;

/* Reserves addresses for most_bytes; ERR_MEMORY when the system refuses. */
error_code weight_memory_create(weight_memory **out, size_t most_bytes, failure *fail);
/* Everything taken from it is gone. NULL is allowed. */
void weight_memory_destroy(weight_memory *w);
/* Zeroed bytes, aligned to a cache line, that live as long as w; NULL when the range is full. */
void *weight_memory_take(weight_memory *w, size_t bytes);

#endif
