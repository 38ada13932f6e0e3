/* activation.c: the columns that a matrix is multiplied with, as floats and as blocks of integers.
 */
#include <stdlib.h>
#include <string.h>

#include "kernel/matrix_parts.h"

/* Activations end with whole records of the blocks of 32; those of K-quants are whole anyway. */
enum { PADDED_COLUMNS = FOUR_BLOCKS * BLOCK_COLUMNS };

/* An odd number of cache lines, so that columns do not fall on the same sets of a cache. */
static size_t spread_stride(size_t bytes)
{
    size_t lines = bytes / RECORD_ALIGNMENT + (bytes % RECORD_ALIGNMENT != 0);
    return (lines | 1) * RECORD_ALIGNMENT;
}

error_code activation_create(activation **out, size_t max_length, size_t max_columns, failure *fail)
{
    *out = NULL;
    if (max_length == 0 || max_columns == 0 || max_length > SIZE_MAX / 64 - 2 * K_COLUMNS)
        return failure_set(fail, ERR_INVALID, "an activation of %zu × %zu", max_columns,
                           max_length);
    size_t length = (max_length + PADDED_COLUMNS - 1) / PADDED_COLUMNS * PADDED_COLUMNS;
    size_t floats_stride = spread_stride(length * sizeof(float));
    size_t blocks_stride = spread_stride(length / BLOCK_COLUMNS * sizeof(activation_block));
    size_t floats_bytes, blocks_bytes;
    if (__builtin_mul_overflow(floats_stride, max_columns, &floats_bytes) ||
        __builtin_mul_overflow(blocks_stride, max_columns, &blocks_bytes))
        return failure_set(fail, ERR_TOO_LARGE, "an activation of %zu × %zu is too large",
                           max_columns, max_length);
    activation *a = calloc(1, sizeof *a);
    if (a != NULL) {
        a->floats = aligned_alloc(RECORD_ALIGNMENT, floats_bytes);
        a->blocks = aligned_alloc(RECORD_ALIGNMENT, blocks_bytes);
    }
    if (a == NULL || a->floats == NULL || a->blocks == NULL) {
        activation_destroy(a);
        return failure_set(fail, ERR_MEMORY, "no memory for activations of %zu × %zu", max_columns,
                           max_length);
    }
    a->max_length = length;
    a->max_columns = max_columns;
    a->floats_stride = floats_stride;
    a->blocks_stride = blocks_stride;
    *out = a;
    return OK;
}

void activation_destroy(activation *a)
{
    if (a == NULL)
        return;
    free(a->floats);
    free(a->blocks);
    free(a);
}

static void set_blocks(activation_block *blocks, const float *x, size_t length)
{
    const kernel_set *kernel = kernel_active();
    check_aligned(blocks);
    size_t n = length / BLOCK_COLUMNS, rest = length % BLOCK_COLUMNS;
    kernel->quantize(blocks, x, n);
    if (rest != 0) {
        float padded[BLOCK_COLUMNS] = {0};
        memcpy(padded, x + n * BLOCK_COLUMNS, rest * sizeof *x);
        kernel->quantize(blocks + n, padded, 1);
    }
}

/* Empty blocks behind a column `length` long, which complete the last record of every type. */
static void pad_blocks(activation_block *blocks, size_t length)
{
    size_t n = (length + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS;
    size_t whole = (length + PADDED_COLUMNS - 1) / PADDED_COLUMNS * PADDED_COLUMNS / BLOCK_COLUMNS;
    memset(blocks + n, 0, (whole - n) * sizeof *blocks);
}

void activation_set_part(activation *a, size_t column, size_t first, const float *x, size_t n,
                         size_t length, const matrix *m)
{
    bool last = first + n == length;
    if (m->wants_floats) {
        float *floats = (float *)(void *)(a->floats + column * a->floats_stride);
        size_t whole = (length + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS * BLOCK_COLUMNS;
        memcpy(floats + first, x, n * sizeof *x);
        if (last)
            memset(floats + length, 0, (whole - length) * sizeof *x);
    }
    if (m->wants_blocks) {
        activation_block *blocks =
            (activation_block *)(void *)(a->blocks + column * a->blocks_stride);
        set_blocks(blocks + first / BLOCK_COLUMNS, x, n);
        if (last)
            pad_blocks(blocks, length);
    }
}

void activation_set(activation *a, size_t column, const float *x, size_t length, const matrix *m)
{
    activation_set_part(a, column, 0, x, length, length, m);
}
