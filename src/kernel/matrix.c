/* matrix.c: packing weights, keeping activations, and cutting a product into tiles. */
#include "kernel/internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_SOURCES = 8,
    SLICE_COLUMNS = 512, /* about */
    /* Weights of this many bytes stay in the second-level cache while the column tiles of a prefill
     * pass over them. */
    RESIDENT_BYTES = 256 * 1024,
    /* What one thread takes at a time when there are few columns: a microsecond or two. */
    PIECE_BYTES = 48 * 1024,
    PACK_SLICE_BYTES = 16 * 1024 * 1024,
    PACK_ALONE_BYTES = 1024 * 1024, /* below, threads would cost more than they save */
    MAX_PACK_THREADS = 32,
    /* Activations end with whole records of the blocks of 32; those of K-quants are whole anyway.
     */
    PADDED_COLUMNS = FOUR_BLOCKS * BLOCK_COLUMNS,
};

typedef struct matrix_part {
    packed_index index;
    size_t first_row; /* in the joined matrix */
    size_t rows;
    size_t groups;
    size_t n_records;     /* a group */
    size_t group_bytes;   /* n_records · record_bytes */
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

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* The more groups a panel has, the more often activations are met while they are near; but a panel
 * is what a thread takes at least, and of the smallest matrices all threads want as much. */
static size_t choose_panel(size_t groups)
{
    return groups >= 256 ? 8 : groups >= 64 ? 4 : 2;
}

/* Records in the part of a slice that one group has; `first` is the slice's first record. */
static size_t slice_length(const matrix_part *part, size_t first)
{
    return smaller(part->n_records - first, part->slice_records);
}

/* Where that part lies. */
static char *slice_of(const matrix_part *part, size_t group, size_t first)
{
    size_t panel = group / part->panel_groups * part->panel_groups; /* its first group */
    size_t groups = smaller(part->groups - panel, part->panel_groups);
    size_t groups_before = panel * part->turns + groups * part->turn;
    size_t before = first * groups + slice_length(part, first) * (group - panel);
    return part->data + groups_before * part->group_bytes +
           before * packed_format_of(part->index)->record_bytes;
}

static error_code measure_part(matrix_part *part, const matrix_source *source, size_t cols,
                               failure *fail)
{
    part->index = packed_find(source->type);
    if (part->index == PACKED_COUNT)
        return failure_set(fail, ERR_UNSUPPORTED, "tensor type %d cannot be multiplied",
                           (int)source->type);
    const packed_format *format = packed_format_of(part->index);
    if (cols % format->info.block_values != 0)
        return failure_set(fail, ERR_FORMAT,
                           "a %s matrix has %zu columns, which is not a multiple of %u",
                           format->info.name, cols, (unsigned)format->info.block_values);
    part->rows = source->rows;
    part->groups = divide_up(source->rows, GROUP_ROWS);
    part->n_records = divide_up(cols, format->columns);
    size_t slices = (cols + SLICE_COLUMNS / 2) / SLICE_COLUMNS;
    part->panel_groups = choose_panel(part->groups);
    part->turns = 1;
    part->slice_records = divide_up(part->n_records, slices > 0 ? slices : 1);
    if (__builtin_mul_overflow(part->n_records, format->record_bytes, &part->group_bytes))
        return failure_set(fail, ERR_TOO_LARGE, "a matrix of %zu columns is too large", cols);
    return OK;
}

/* Puts before a failure which tensor it is about, where that is known. */
static error_code name_source(const matrix_packing *how, size_t source, error_code code,
                              failure *fail)
{
    if (how->origins != NULL)
        failure_prefix(fail, "tensor '%s'", how->origins[source].tensor);
    return code;
}

/* Two parts whose rows are wanted together: so that both are one stream, a panel of one is followed
 * by the other's, and a panel is what a thread takes. */
static void take_turns(matrix_part *parts)
{
    if (parts[0].index != parts[1].index || parts[0].rows != parts[1].rows)
        return;
    for (size_t i = 0; i < 2; i++) {
        parts[i].turns = 2;
        parts[i].turn = i;
        if (parts[i].panel_groups > 2)
            parts[i].panel_groups = MATRIX_PIECE_ROWS / GROUP_ROWS;
    }
}

/* Fills in the parts and the totals; no memory is taken yet. */
static error_code measure_matrix(matrix *m, const matrix_source *sources, const matrix_packing *how,
                                 failure *fail)
{
    for (size_t i = 0; i < m->n_parts; i++) {
        matrix_part *part = &m->parts[i];
        error_code code = measure_part(part, &sources[i], m->cols, fail);
        if (code != OK)
            return name_source(how, i, code, fail);
        part->first_row = m->rows;
        size_t part_bytes;
        if (__builtin_mul_overflow(part->groups, part->group_bytes, &part_bytes) ||
            __builtin_add_overflow(m->bytes, part_bytes, &m->bytes) ||
            __builtin_add_overflow(m->rows, part->rows, &m->rows))
            return failure_set(fail, ERR_TOO_LARGE, "a matrix of %zu × %zu is too large",
                               part->rows, m->cols);
        bool floats = packed_format_of(part->index)->floats;
        m->wants_floats = m->wants_floats || floats;
        m->wants_blocks = m->wants_blocks || !floats;
    }
    if (how->in_turns && m->n_parts == 2)
        take_turns(m->parts);
    return OK;
}

/* Groups [begin, end) of a part, to be packed by one thread. */
typedef struct pack_share {
    const matrix_part *part;
    const matrix_source *source;
    size_t cols;
    size_t begin, end;
    size_t bad_block; /* of the source, the first that is no number; NO_BLOCK */
} pack_share;

#define NO_BLOCK SIZE_MAX

/* Notes the first block of the group that is no number. Its rows are about to be packed: reading
 * them twice costs little. */
static bool check_group(pack_share *share, size_t group)
{
    const tensor_type_info *type = &packed_format_of(share->part->index)->info;
    size_t row_blocks = share->cols / type->block_values, first = group * GROUP_ROWS * row_blocks;
    size_t rows = share->part->rows - group * GROUP_ROWS;
    size_t n = (rows < GROUP_ROWS ? rows : GROUP_ROWS) * row_blocks;
    size_t finite = tensor_finite_blocks(
        type, (const char *)share->source->data + first * type->block_bytes, n);
    if (finite < n)
        share->bad_block = first + finite;
    return finite == n;
}

static void pack_group(const pack_share *share, size_t group)
{
    const matrix_part *part = share->part;
    const packed_format *format = packed_format_of(part->index);
    size_t row_bytes = share->cols / format->info.block_values * format->info.block_bytes;
    size_t record_step = format->columns / format->info.block_values * format->info.block_bytes;
    const uint8_t *rows[GROUP_ROWS] = {NULL};
    for (size_t r = 0; r < GROUP_ROWS && group * GROUP_ROWS + r < part->rows; r++)
        rows[r] = (const uint8_t *)share->source->data + (group * GROUP_ROWS + r) * row_bytes;
    for (size_t first = 0, n; first < part->n_records; first += n) {
        char *record = slice_of(part, group, first);
        n = slice_length(part, first);
        for (size_t i = first; i < first + n; i++, record += format->record_bytes) {
            size_t left = share->cols - i * format->columns;
            format->pack(record, rows, left < format->columns ? left : format->columns);
            for (size_t r = 0; r < GROUP_ROWS && rows[r] != NULL; r++)
                rows[r] += record_step;
        }
    }
}

static void *pack_groups(void *context)
{
    pack_share *share = context;
    for (size_t g = share->begin; g < share->end && check_group(share, g); g++)
        pack_group(share, g);
    return NULL;
}

/* Groups [begin, end), by as many threads as there are cores when it is worth it. They live for it
 * alone: no team exists yet when models are loaded. What a thread that cannot be made would have
 * done, the caller does. Returns the first block that is no number, NO_BLOCK. */
static size_t pack_slice(const pack_share *slice)
{
    pthread_t threads[MAX_PACK_THREADS];
    pack_share shares[MAX_PACK_THREADS];
    bool started[MAX_PACK_THREADS] = {false};
    size_t n = 1, groups = slice->end - slice->begin;
    if (groups * slice->part->group_bytes >= PACK_ALONE_BYTES)
        n = (size_t)team_default_size();
    n = n < MAX_PACK_THREADS ? n : MAX_PACK_THREADS;
    for (size_t i = 0; i < n; i++) {
        shares[i] = *slice;
        shares[i].begin = slice->begin + groups * i / n;
        shares[i].end = slice->begin + groups * (i + 1) / n;
        if (i > 0) /* the first share is the caller's */
            started[i] = pthread_create(&threads[i], NULL, pack_groups, &shares[i]) == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (!started[i])
            pack_groups(&shares[i]);
    size_t bad_block = NO_BLOCK;
    for (size_t i = 0; i < n; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        bad_block = shares[i].bad_block < bad_block ? shares[i].bad_block : bad_block;
    }
    return bad_block;
}

static error_code refuse_block(const matrix_packing *how, size_t source, size_t block,
                               failure *fail)
{
    size_t first = how->origins != NULL ? how->origins[source].first_block : 0;
    failure_set(fail, ERR_FORMAT, "block %zu is not a number: NaN or infinite", first + block);
    return name_source(how, source, ERR_FORMAT, fail);
}

/* Returns the first block that is no number, NO_BLOCK. */
static size_t pack_part(const matrix_part *part, const matrix_source *source, size_t cols,
                        const matrix_packing *how)
{
    size_t step = PACK_SLICE_BYTES / part->group_bytes;
    step = step > 0 ? step : 1;
    for (size_t begin = 0; begin < part->groups; begin += step) {
        size_t end = part->groups - begin < step ? part->groups : begin + step;
        size_t bad = pack_slice(&(pack_share){part, source, cols, begin, end, NO_BLOCK});
        if (bad != NO_BLOCK)
            return bad;
        if (how->rest != NULL)
            how->rest(how->rest_context);
    }
    return NO_BLOCK;
}

error_code matrix_create(matrix **out, const matrix_source *sources, size_t n_sources, size_t cols,
                         failure *fail)
{
    return matrix_create_packed(out, sources, n_sources, cols, &(matrix_packing){0}, fail);
}

/* Zeroed memory: what pack relies on. */
static error_code take_memory(matrix *m, weight_memory *memory, failure *fail)
{
    m->memory = memory != NULL ? weight_memory_take(memory, m->bytes) : NULL;
    if (m->memory != NULL)
        return OK;
    error_code code = weight_memory_create(&m->own_memory, m->bytes, fail);
    if (code == OK)
        m->memory = weight_memory_take(m->own_memory, m->bytes);
    return code;
}

error_code matrix_create_packed(matrix **out, const matrix_source *sources, size_t n_sources,
                                size_t cols, const matrix_packing *how, failure *fail)
{
    *out = NULL;
    if (n_sources == 0 || n_sources > MAX_SOURCES || cols == 0)
        return failure_set(fail, ERR_INVALID, "a matrix of %zu sources and %zu columns", n_sources,
                           cols);
    matrix *m = calloc(1, sizeof *m + n_sources * sizeof m->parts[0]);
    if (m == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a matrix");
    m->cols = cols;
    m->n_parts = n_sources;
    error_code code = measure_matrix(m, sources, how, fail);
    if (code == OK && m->bytes == 0)
        code = failure_set(fail, ERR_FORMAT, "a matrix without rows");
    if (code == OK)
        code = take_memory(m, how->memory, fail);
    if (code != OK) {
        free(m);
        return code;
    }
    char *data = m->memory;
    for (size_t i = 0; code == OK && i < n_sources; i++) {
        matrix_part *part = &m->parts[i];
        part->data = part->turn == 0 ? data : m->parts[i - 1].data;
        size_t bad = pack_part(part, &sources[i], cols, how);
        code = bad == NO_BLOCK ? OK : refuse_block(how, i, bad, fail);
        data += part->groups * part->group_bytes;
    }
    if (code != OK) {
        matrix_destroy(m);
        return code;
    }
    *out = m;
    return OK;
}

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

/* ---- activations ---------------------------------------------------------------------------- */

struct activation {
    size_t max_length; /* whole records of blocks of 32 fit: a multiple of PADDED_COLUMNS */
    size_t max_columns;
    size_t floats_stride; /* bytes from one column to the next */
    size_t blocks_stride;
    char *floats;
    char *blocks;
};

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

/* ---- products ------------------------------------------------------------------------------- */

typedef struct product {
    const matrix_part *part;
    tile_function *tile;
    size_t x_step; /* bytes of a record's columns in an activation */
    const char *x;
    size_t x_stride; /* bytes */
    size_t columns;
    float *y; /* of the part's first row */
    size_t y_stride;
} product;

/* The group's part of a slice, against at most TILE_COLUMNS columns. */
static tile_job slice_job(const product *p, size_t group, size_t first, size_t column)
{
    size_t columns = p->columns - column;
    return (tile_job){
        .records = slice_of(p->part, group, first),
        .n_records = slice_length(p->part, first),
        .x = p->x + column * p->x_stride + first * p->x_step,
        .x_stride = p->x_stride,
        .columns = columns < TILE_COLUMNS ? columns : TILE_COLUMNS,
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

/* Rows [begin, end) against one tile of columns, panel by panel. */
static void multiply_tile(const product *p, size_t begin, size_t end, size_t column)
{
    size_t panel_rows = p->part->panel_groups * GROUP_ROWS;
    for (size_t next; begin < end; begin = next) {
        if (begin % GROUP_ROWS != 0 || end - begin < GROUP_ROWS) {
            next = smaller((begin / GROUP_ROWS + 1) * GROUP_ROWS, end);
            multiply_rows(p, begin, next, column);
        } else {
            next = smaller((begin / panel_rows + 1) * panel_rows, end / GROUP_ROWS * GROUP_ROWS);
            multiply_groups(p, begin / GROUP_ROWS, next / GROUP_ROWS, column);
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
        for (size_t c = 0; c < p->columns; c += TILE_COLUMNS)
            multiply_tile(p, begin, next, c);
    }
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
