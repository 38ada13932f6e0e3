/*
 * matrix_parts.h: what a packed matrix and activations are made of; for the files that pack, keep
 * and multiply them.
 *
 *   matrix_pack.c  from sources to a packed matrix
 *   matrix.c       reading rows, cutting a product into tiles
 *   activation.c   the right-hand sides
 */
#ifndef KERNEL_MATRIX_PARTS_H
#define KERNEL_MATRIX_PARTS_H

#include "kernel/internal.h"

typedef struct matrix_part {
    packed_index index;
    size_t first_row; /* in the joined matrix */
    size_t rows;
    size_t groups;
    size_t n_records;     /* a group */
    size_t group_bytes;   /* n_records · record_bytes */
    size_t bytes;         /* of all groups, up to where another part may begin */
    size_t panel_groups;  /* a panel, the last of which may have fewer */
    size_t slice_records; /* a slice of a group, the last of which may have fewer */
    size_t turns, turn;   /* so many parts' panels lie by turns, this one's at `turn` */
    char *data;           /* of all of these */
} matrix_part;

struct matrix {
    size_t rows;
    size_t cols;
    size_t bytes;
    char *memory;              /* `bytes` long: every part's data */
    weight_memory *own_memory; /* NULL: it lies in a model's */
    bool wants_floats;
    bool wants_blocks;
    size_t n_parts;
    matrix_part parts[];
};

struct activation {
    size_t max_length; /* whole records of blocks of 32 fit: a multiple of PADDED_COLUMNS */
    size_t max_columns;
    size_t floats_stride; /* bytes from one column to the next */
    size_t blocks_stride;
    char *floats;
    char *blocks;
};

static inline size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* Records in the part of a slice that one group has; `first` is the slice's first record. */
static inline size_t slice_length(const matrix_part *part, size_t first)
{
    return smaller(part->n_records - first, part->slice_records);
}

/* Where that part lies. */
static inline char *slice_of(const matrix_part *part, size_t group, size_t first)
{
    size_t panel = group / part->panel_groups * part->panel_groups; /* its first group */
    size_t groups = smaller(part->groups - panel, part->panel_groups);
    size_t groups_before = panel * part->turns + groups * part->turn;
    size_t before = first * groups + slice_length(part, first) * (group - panel);
    return part->data + groups_before * part->group_bytes +
           before * packed_format_of(part->index)->record_bytes;
}

#endif
