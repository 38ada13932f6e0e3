/*
 * tile.h: the tile around a record's arithmetic, the same in every instruction set. Included only
 * by tile_*.h, after they have said what these are:
 *
 *   SET(name)           the name with the set's prefix
 *   rows_f32            sixteen floats, one a row, with zero_f32(), load_sums(y) and
 *                       store_f32(y, rows)
 *
 * The record's arithmetic is inlined with a constant number of columns, so that sums stay in
 * registers and weights are read once for all columns.
 */
#ifndef KERNEL_TILE_H
#define KERNEL_TILE_H

#include "kernel/internal.h"

#include "kernel/inline.h"
#include "kernel/prefetch.h"

#define EACH_COLUMN UNROLL for (size_t c = 0; c < columns; c++)

INLINE const activation_block *block_of(const char *x, size_t x_stride, size_t column, size_t block)
{
    return (const activation_block *)(const void *)(x + column * x_stride) + block;
}

/* One record against `columns` activations, `x` the first one's part, added to total[column]. */
typedef void add_function(const void *record, const char *x, size_t x_stride, size_t columns,
                          rows_f32 total[TILE_COLUMNS]);

/* What will be read next, to be asked for a little with each record: a burst would have to wait. */
typedef struct upcoming {
    const char *at, *end;
    size_t lines; /* with each record */
} upcoming;

INLINE void ask_for(upcoming *next)
{
    for (size_t i = next->lines; i > 0 && next->at < next->end; i--, next->at += PREFETCH_LINE)
        __builtin_prefetch(next->at);
}

/* Columns [first, first + columns) of the job; nothing to be asked for: NULL. */
INLINE void tile_columns(add_function *add, size_t record_bytes, size_t x_step, const tile_job *job,
                         size_t first, size_t columns, upcoming *next)
{
    const char *record = job->records, *x = (const char *)job->x + first * job->x_stride;
    const size_t x_stride = job->x_stride, y_stride = job->y_stride;
    float *y = job->y + first * y_stride;
    rows_f32 total[TILE_COLUMNS];
    EACH_COLUMN total[c] = job->goes_on ? load_sums(y + c * y_stride) : zero_f32();
    for (size_t i = job->n_records; i > 0; i--, record += record_bytes, x += x_step) {
        if (next != NULL)
            ask_for(next);
        add(record, x, x_stride, columns, total);
    }
    EACH_COLUMN store_f32(y + c * y_stride, total[c]);
}

/* At most `most` columns at once: more would not fit the set's registers. */
INLINE void tile(add_function *add, size_t most, size_t record_bytes, size_t x_step,
                 const tile_job *job, upcoming *next)
{
    size_t first = 0, columns = job->columns;
    for (; most < TILE_COLUMNS && columns > most; columns -= most, first += most)
        tile_columns(add, record_bytes, x_step, job, first, most, next);
#define REST(count) tile_columns(add, record_bytes, x_step, job, first, count, next)
    WITH_CONSTANT(columns, most, REST)
#undef REST
}

#define DEFINE_TILE(type, add, most, record, x_step)                                               \
    void SET(tile_##type)(const tile_job *job)                                                     \
    {                                                                                              \
        tile(add, most, sizeof(record), x_step, job, NULL);                                        \
    }

#endif
