/* matrix.c: a packed matrix: its rows, and a product cut into tiles. */
#include <stdlib.h>
#include <string.h>

#include "kernel/matrix_parts.h"

enum {
    /* Weights of this many bytes stay in the second-level cache while the column tiles of a prefill
     * pass over them. */
    RESIDENT_BYTES = 256 * 1024,
    /* Columns that pass over what has been made wide, whose activations stay in the second-level
     * cache. */
    WIDE_COLUMNS = 64,
    /* Blocks that are made wide at once: 11 KB. */
    WIDE_BLOCKS = 512 / BLOCK_COLUMNS,
    /* What one thread takes at a time when there are few columns: a microsecond or two. */
    PIECE_BYTES = 48 * 1024,
};

void matrix_destroy(matrix *m)
{
    if (m == NULL)
        return;
    weight_memory_destroy(m->own_memory);
    free(m);
}

size_t matrix_rows(const matrix *m)
{
    return m->rows;
}

size_t matrix_cols(const matrix *m)
{
    return m->cols;
}

const void *matrix_memory(const matrix *m)
{
    return m->memory;
}

size_t matrix_bytes(const matrix *m)
{
    return m->bytes;
}

void matrix_read_row(const matrix *m, size_t row, float *out)
{
    const matrix_part *part = m->parts;
    while (row >= part->first_row + part->rows)
        part++;
    const packed_format *format = packed_format_of(part->index);
    row -= part->first_row;
    for (size_t first = 0, n; first < part->n_records; first += n) {
        const char *record = slice_of(part, row / GROUP_ROWS, first);
        n = slice_length(part, first);
        for (size_t i = first; i < first + n; i++, record += format->record_bytes) {
            size_t at = i * format->columns, left = m->cols - at;
            format->unpack(record, row % GROUP_ROWS, out + at,
                           left < format->columns ? left : format->columns);
        }
    }
}

size_t matrix_piece_rows(const matrix *m, size_t columns)
{
    size_t panel_rows = BLOCK_COLUMNS; /* of the part whose panels are the largest */
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i].panel_groups * GROUP_ROWS > panel_rows)
            panel_rows = m->parts[i].panel_groups * GROUP_ROWS;
    size_t panel_bytes = m->bytes / (m->rows / panel_rows + 1) + 1;
    size_t panels = (columns > TILE_COLUMNS ? RESIDENT_BYTES : PIECE_BYTES) / panel_bytes;
    size_t rows = (panels > 0 ? panels : 1) * panel_rows;
    return rows < MATRIX_PIECE_ROWS ? rows : MATRIX_PIECE_ROWS;
}

void matrix_share(size_t first, size_t rows, int thread, int n_threads, size_t *row_begin,
                  size_t *row_end)
{
    size_t groups = rows / GROUP_ROWS + (rows % GROUP_ROWS != 0);
    size_t n = (size_t)n_threads, t = (size_t)thread;
    size_t each = groups / n, more = groups % n; /* the first `more` threads take one more */
    size_t begin = (t * each + (t < more ? t : more)) * GROUP_ROWS;
    size_t end = begin + (each + (t < more ? 1 : 0)) * GROUP_ROWS;
    *row_begin = first + (begin < rows ? begin : rows);
    *row_end = first + (end < rows ? end : rows);
}

/* ---- products ------------------------------------------------------------------------------- */

typedef struct product {
    const matrix_part *part;
    tile_function *tile;
    const wide_form *wide; /* NULL: none, or too few columns */
    size_t x_step;         /* bytes of a record's columns in an activation */
    const char *x;
    size_t x_stride; /* bytes */
    size_t columns;
    float *y; /* of the part's first row */
    size_t y_stride;
} product;

/* The group's part of a slice, against at most TILE_COLUMNS columns. */
static tile_job slice_job(const product *p, size_t group, size_t first, size_t column)
{
    return (tile_job){
        .records = slice_of(p->part, group, first),
        .n_records = slice_length(p->part, first),
        .x = p->x + column * p->x_stride + first * p->x_step,
        .x_stride = p->x_stride,
        .columns = smaller(p->columns - column, TILE_COLUMNS),
        .y = p->y + column * p->y_stride + group * GROUP_ROWS,
        .y_stride = p->y_stride,
        .goes_on = first > 0,
    };
}

/* Groups [begin, end) of one panel, slice by slice. */
static void multiply_groups(const product *p, size_t begin, size_t end, size_t column)
{
    for (size_t first = 0; first < p->part->n_records; first += slice_length(p->part, first)) {
        tile_job job = slice_job(p, begin, first, column);
        size_t bytes = job.n_records * packed_format_of(p->part->index)->record_bytes;
        for (size_t g = begin; g < end; g++, job.y += GROUP_ROWS) {
            p->tile(&job);
            job.records = (const char *)job.records + bytes;
        }
    }
}

/* Some records of a group, made wide, against `columns` columns. */
static void multiply_wide(const product *p, const char *records, size_t n_records, size_t group,
                          size_t first, size_t column, size_t columns)
{
    wide_block blocks[WIDE_BLOCKS];
    p->wide->widen(blocks, records, n_records);
    tile_job job = slice_job(p, group, first, column);
    job.records = blocks;
    job.n_records = n_records * (p->x_step / sizeof(activation_block));
    job.columns = columns;
    job.next_bytes = n_records * packed_format_of(p->part->index)->record_bytes;
    job.next = records + job.next_bytes; /* records lie in the order in which they are read */
    p->wide->tile(&job);
}

/* As multiply_groups, against any number of columns. */
static void multiply_groups_wide(const product *p, size_t begin, size_t end, size_t column,
                                 size_t columns)
{
    const packed_format *format = packed_format_of(p->part->index);
    const size_t most = WIDE_BLOCKS * BLOCK_COLUMNS / format->columns;
    for (size_t first = 0; first < p->part->n_records; first += slice_length(p->part, first)) {
        const size_t n = slice_length(p->part, first);
        for (size_t g = begin; g < end; g++) {
            const char *records = slice_of(p->part, g, first);
            for (size_t i = 0; i < n; i += most)
                multiply_wide(p, records + i * format->record_bytes, smaller(n - i, most), g,
                              first + i, column, columns);
        }
    }
}

/* Rows [begin, end) of one group, not all of them: a tile always makes sixteen, so they go by way
 * of a buffer. */
static void multiply_rows(const product *p, size_t begin, size_t end, size_t column)
{
    float rows[TILE_COLUMNS * GROUP_ROWS];
    size_t group = begin / GROUP_ROWS, columns = 0;
    for (size_t first = 0; first < p->part->n_records; first += slice_length(p->part, first)) {
        tile_job job = slice_job(p, group, first, column);
        job.y = rows;
        job.y_stride = GROUP_ROWS;
        columns = job.columns;
        p->tile(&job);
    }
    for (size_t c = 0; c < columns; c++)
        memcpy(p->y + (column + c) * p->y_stride + begin,
               rows + c * GROUP_ROWS + begin % GROUP_ROWS, (end - begin) * sizeof *rows);
}

/* Rows [begin, end) against `columns` columns, panel by panel. */
static void multiply_tile(const product *p, size_t begin, size_t end, size_t column, size_t columns)
{
    size_t panel_rows = p->part->panel_groups * GROUP_ROWS;
    for (size_t next; begin < end; begin = next) {
        if (begin % GROUP_ROWS != 0 || end - begin < GROUP_ROWS) {
            next = smaller((begin / GROUP_ROWS + 1) * GROUP_ROWS, end);
            for (size_t c = 0; c < columns; c += TILE_COLUMNS)
                multiply_rows(p, begin, next, column + c);
        } else {
            next = smaller((begin / panel_rows + 1) * panel_rows, end / GROUP_ROWS * GROUP_ROWS);
            size_t first = begin / GROUP_ROWS, last = next / GROUP_ROWS;
            if (p->wide != NULL)
                multiply_groups_wide(p, first, last, column, columns);
            else
                multiply_groups(p, first, last, column);
        }
    }
}

/* Rows [begin, end) of the part: some panels' weights stay in cache over all column tiles, a
 * tile's activations over a panel's groups. */
static void multiply_part(const product *p, size_t begin, size_t end)
{
    size_t panels = RESIDENT_BYTES / (p->part->panel_groups * p->part->group_bytes);
    size_t resident = (panels > 0 ? panels : 1) * p->part->panel_groups * GROUP_ROWS;
    check_aligned(p->part->data);
    check_aligned(p->x);
    for (size_t next; begin < end; begin = next) {
        next = smaller((begin / resident + 1) * resident, end);
        for (size_t c = 0, n; c < p->columns; c += n) {
            n = smaller(p->columns - c, p->wide != NULL ? WIDE_COLUMNS : TILE_COLUMNS);
            multiply_tile(p, begin, next, c, n);
        }
    }
}

static const wide_form *wide_form_of(const kernel_set *kernel, packed_index index, size_t columns)
{
    bool offered = kernel->wide != NULL && kernel->wide[index].tile != NULL;
    return offered && columns >= kernel->wide[index].min_columns ? &kernel->wide[index] : NULL;
}

void matrix_multiply_columns(const matrix *m, const activation *a, size_t first_column,
                             size_t columns, size_t row_begin, size_t row_end, float *y,
                             size_t y_stride)
{
    const kernel_set *kernel = kernel_active();
    for (size_t i = 0; i < m->n_parts; i++) {
        const matrix_part *part = &m->parts[i];
        size_t part_end = part->first_row + part->rows;
        size_t begin = row_begin > part->first_row ? row_begin : part->first_row;
        size_t end = row_end < part_end ? row_end : part_end;
        if (begin >= end)
            continue;
        const packed_format *format = packed_format_of(part->index);
        bool floats = format->floats;
        product p = {
            .part = part,
            .tile = kernel->tile[part->index],
            .wide = wide_form_of(kernel, part->index, columns),
            .x_step = floats ? format->columns * sizeof(float)
                             : format->columns / BLOCK_COLUMNS * sizeof(activation_block),
            .x = floats ? a->floats + first_column * a->floats_stride
                        : a->blocks + first_column * a->blocks_stride,
            .x_stride = floats ? a->floats_stride : a->blocks_stride,
            .columns = columns,
            .y = y + part->first_row,
            .y_stride = y_stride,
        };
        multiply_part(&p, begin - part->first_row, end - part->first_row);
    }
}

void matrix_multiply(const matrix *m, const activation *a, size_t columns, size_t row_begin,
                     size_t row_end, float *y, size_t y_stride)
{
    matrix_multiply_columns(m, a, 0, columns, row_begin, row_end, y, y_stride);
}
