/* matrix_pack.c: how a matrix will lie, and packing it so, by all threads. */
#include <pthread.h>
#include <stdlib.h>

#include "kernel/matrix_parts.h"

enum {
    MAX_SOURCES = 8,
    SLICE_COLUMNS = 512, /* about */
    PACK_SLICE_BYTES = 16 * 1024 * 1024,
    PACK_ALONE_BYTES = 1024 * 1024, /* below, threads would cost more than they save */
    MAX_PACK_THREADS = 32,
};

/* The more groups a panel has, the more often activations are met while they are near; but a panel
 * is what a thread takes at least, and of the smallest matrices all threads want as much. */
static size_t choose_panel(size_t groups)
{
    return groups >= 256 ? 8 : groups >= 64 ? 4 : 2;
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
