/* matrix_pack.c: how a matrix will lie, and packing it so. */
#include <stdlib.h>

#include "kernel/matrix_parts.h"
#include "kernel/packer.h"

enum {
    MAX_SOURCES = 8,
    SLICE_COLUMNS = 512, /* about */
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
    size_t all;
    if (__builtin_mul_overflow(part->n_records, format->record_bytes, &part->group_bytes) ||
        __builtin_mul_overflow(part->groups, part->group_bytes, &all) ||
        __builtin_add_overflow(all, RECORD_ALIGNMENT - 1, &part->bytes))
        return failure_set(fail, ERR_TOO_LARGE, "a matrix of %zu × %zu is too large", part->rows,
                           cols);
    part->bytes -= part->bytes % RECORD_ALIGNMENT;
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
        if (__builtin_add_overflow(m->bytes, part->bytes, &m->bytes) ||
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

/* The group's rows as the file has them: the last group may have fewer than sixteen. */
static void pack_group(const matrix *m, const matrix_part *part, size_t group, const uint8_t *data,
                       size_t row_bytes)
{
    const packed_format *format = packed_format_of(part->index);
    size_t record_step = format->columns / format->info.block_values * format->info.block_bytes;
    const uint8_t *rows[GROUP_ROWS] = {NULL};
    for (size_t r = 0; r < GROUP_ROWS && group * GROUP_ROWS + r < part->rows; r++)
        rows[r] = data + r * row_bytes;
    for (size_t first = 0, n; first < part->n_records; first += n) {
        char *record = slice_of(part, group, first);
        n = slice_length(part, first);
        for (size_t i = first; i < first + n; i++, record += format->record_bytes) {
            size_t left = m->cols - i * format->columns;
            format->pack(record, rows, left < format->columns ? left : format->columns);
            for (size_t r = 0; r < GROUP_ROWS && rows[r] != NULL; r++)
                rows[r] += record_step;
        }
    }
}

static void pack_groups(const packer_job *job, const void *data, size_t at, size_t bytes)
{
    const matrix *m = job->into;
    size_t first = at / job->unit_bytes, n = divide_up(bytes, job->unit_bytes);
    for (size_t i = 0; i < n; i++)
        pack_group(m, &m->parts[job->part], first + i, (const uint8_t *)data + i * job->unit_bytes,
                   job->unit_bytes / GROUP_ROWS);
}

static error_code add_part(matrix *m, size_t i, const matrix_source *source, packer *by,
                           const matrix_origin *origins, failure *fail)
{
    const tensor_type_info *type = &packed_format_of(m->parts[i].index)->info;
    size_t row_bytes = m->cols / type->block_values * type->block_bytes;
    const packer_job job = {
        .type = type,
        .data = source->data,
        .bytes = source->rows * row_bytes,
        .unit_bytes = GROUP_ROWS * row_bytes,
        .tensor = origins != NULL ? origins[i].tensor : NULL,
        .first_block = origins != NULL ? origins[i].first_block : 0,
        .use = pack_groups,
        .into = m,
        .part = i,
    };
    return source->rows > 0 ? packer_add(by, &job, fail) : OK;
}

static error_code add_parts(matrix *m, const matrix_source *sources, const matrix_packing *how,
                            packer *by, failure *fail)
{
    error_code code = OK;
    char *data = m->memory;
    for (size_t i = 0; code == OK && i < m->n_parts; i++) {
        matrix_part *part = &m->parts[i];
        part->data = part->turn == 0 ? data : m->parts[i - 1].data;
        data += part->bytes;
        code = add_part(m, i, &sources[i], by, how->origins, fail);
    }
    return code;
}

/* By a packer of its own, at once. */
static error_code pack_now(matrix *m, const matrix_source *sources, const matrix_packing *how,
                           failure *fail)
{
    packer *own;
    error_code code = packer_create(&own, NULL, NULL, fail);
    if (code == OK)
        code = add_parts(m, sources, how, own, fail);
    if (code == OK) {
        packer_start(own);
        code = packer_finish(own, fail);
    }
    packer_destroy(own);
    return code;
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
    code = how->packer != NULL ? add_parts(m, sources, how, how->packer, fail)
                               : pack_now(m, sources, how, fail);
    if (code != OK) {
        matrix_destroy(m);
        return code;
    }
    *out = m;
    return OK;
}
