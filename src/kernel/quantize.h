/*
 * quantize.h: from f32 to the quantised tensor types, for `a-io quantize`.
 *
 * Every block is fitted to its values by least squares: the sum of squared errors of the decoded
 * values is what the search minimises. The result depends on the values alone.
 */
#ifndef KERNEL_QUANTIZE_H
#define KERNEL_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel/kernel.h"

/* Types that tensor_encode can write. */
bool tensor_can_encode(tensor_type type);

/* Encodes n values (a multiple of the type's block) into the file's layout. False when a value is
 * not finite or larger than F16 can hold (65504); dst is then incomplete. Any thread may call it.
 */
bool tensor_encode(tensor_type type, const float *src, void *dst, size_t n);

#endif
