/* weight_loader.c: a tensor at a time: found, its shape checked, and given to those who pack. */
#include "model/weight_loader.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "model/requantise.h"

/* ---- tensors --------------------------------------------------------------------------------- */

bool loader_has(const weight_loader *l, const char *name)
{
    return gguf_tensor_find(l->m->file, name) != NULL;
}

/* The tensor, whose shape must be this: rows 1 for a vector; planes 1 but for experts, which are
 * stacked in the third dimension. NULL: it failed. */
static const gguf_tensor *find_tensor(weight_loader *l, const char *name, size_t cols, size_t rows,
                                      size_t planes)
{
    if (l->code != OK)
        return NULL;
    const gguf_tensor *t = gguf_tensor_find(l->m->file, name);
    if (t == NULL) {
        l->code = failure_set(l->fail, ERR_FORMAT, "tensor '%s' is missing", name);
        return NULL;
    }
    if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != planes || t->dims[3] != 1) {
        l->code = failure_set(l->fail, ERR_FORMAT,
                              "tensor '%s' is %llu x %llu x %llu, must be %zu x %zu x %zu", name,
                              (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                              (unsigned long long)t->dims[2], cols, rows, planes);
        return NULL;
    }
    l->used++;
    return t;
}

/* ---- vectors --------------------------------------------------------------------------------- */

/* Memory for a vector that the model owns; NULL: it failed. */
static float *new_vector(weight_loader *l, size_t length)
{
    model *m = l->m;
    float **grown = reallocarray(m->vectors, m->n_vectors + 1, sizeof *grown);
    if (grown != NULL)
        m->vectors = grown;
    float *values = grown == NULL ? NULL : reallocarray(NULL, length, sizeof *values);
    if (values == NULL) {
        l->code = failure_set(l->fail, ERR_MEMORY, "no memory for %zu values", length);
        return NULL;
    }
    m->vectors[m->n_vectors++] = values;
    m->weight_bytes += length * sizeof(float);
    return values;
}

static void decode_blocks(const packer_job *job, const void *data, size_t at, size_t bytes)
{
    const tensor_type_info *type = job->type;
    float *values = (float *)job->into + at / type->block_bytes * type->block_values;
    type->decode(data, values, bytes / type->block_bytes * type->block_values);
}

static void copy_blocks(const packer_job *job, const void *data, size_t at, size_t bytes)
{
    memcpy((char *)job->into + at, data, bytes);
}

/* `bytes` of the tensor, from its byte `at` on, will be decoded or copied to `into`. */
static void add_blocks(weight_loader *l, const char *name, const gguf_tensor *t, size_t at,
                       size_t bytes, const packer_job *how)
{
    packer_job job = *how;
    job.type = t->type;
    job.data = (const char *)t->data + at;
    job.bytes = bytes;
    job.unit_bytes = t->type->block_bytes;
    job.tensor = name;
    job.first_block = at / t->type->block_bytes;
    l->code = packer_add(l->packer, &job, l->fail);
}

/* n values from byte `at` of a tensor on; all must be numbers. */
static void read_values(weight_loader *l, const char *name, const gguf_tensor *t, size_t at,
                        float *values, size_t n)
{
    const packer_job how = {.use = decode_blocks, .into = values};
    add_blocks(l, name, t, at, n / t->type->block_values * t->type->block_bytes, &how);
}

void loader_vectors(weight_loader *l, const char *const *names, const size_t *lengths,
                    size_t n_parts, const float **out)
{
    size_t total = 0;
    for (size_t i = 0; i < n_parts; i++)
        total += lengths[i];
    float *values = l->code == OK ? new_vector(l, total) : NULL;
    *out = values;
    for (size_t i = 0; i < n_parts; i++) {
        const gguf_tensor *t = find_tensor(l, names[i], lengths[i], 1, 1);
        if (t == NULL)
            return;
        read_values(l, names[i], t, 0, values, lengths[i]);
        values += lengths[i];
    }
}

void loader_vector(weight_loader *l, const char *name, presence wanted, size_t length,
                   const float **out)
{
    if (wanted == REQUIRED || (wanted == OPTIONAL && loader_has(l, name)))
        loader_vectors(l, &name, &length, 1, out);
}

void loader_expert_bias(weight_loader *l, const char *const *names, size_t n_parts, size_t length,
                        const float **out)
{
    size_t n = l->m->config.n_experts;
    float *values = l->code == OK ? new_vector(l, n * n_parts * length) : NULL;
    *out = values;
    for (size_t part = 0; part < n_parts; part++) {
        const gguf_tensor *t = find_tensor(l, names[part], length, n, 1);
        if (t == NULL)
            return;
        for (size_t i = 0; l->code == OK && i < n; i++)
            read_values(l, names[part], t, i * (t->bytes / n),
                        values + (i * n_parts + part) * length, length);
    }
}

/* ---- matrices -------------------------------------------------------------------------------- */

static error_code fetch_from_file(void *file, const void *from, void *into, size_t bytes,
                                  failure *fail)
{
    return gguf_fetch(file, from, into, bytes, fail);
}

/* Packed matrices are at most 3 % larger than the file's, and a few rows. What should not find room
 * after all gets memory of its own. */
void loader_start(weight_loader *l)
{
    size_t file_bytes = (size_t)gguf_file_bytes(l->m->file);
    l->code = packer_create(&l->packer, fetch_from_file, l->m->file, l->fail);
    if (l->code == OK)
        l->code = weight_memory_create(&l->m->weights, file_bytes + file_bytes / 16, l->fail);
}

void loader_embedding(weight_loader *l, const char *name, size_t rows, size_t cols)
{
    model *m = l->m;
    const gguf_tensor *t = find_tensor(l, name, cols, rows, 1);
    if (t == NULL)
        return;
    char *copy = weight_memory_take(m->weights, t->bytes);
    if (copy == NULL) {
        l->code =
            failure_set(l->fail, ERR_MEMORY, "no memory for %zu bytes of embedding", t->bytes);
        return;
    }
    const packer_job how = {.use = copy_blocks, .into = copy};
    add_blocks(l, name, t, 0, t->bytes, &how);
    m->embedding = copy;
    m->embedding_type = t->type;
    m->embedding_bytes = t->bytes;
}

static void pack(weight_loader *l, const matrix_source *sources, const matrix_origin *origins,
                 size_t n, size_t cols, bool in_turns, matrix **out)
{
    const matrix_packing how = {l->m->weights, l->packer, origins, in_turns};
    l->code = matrix_create_packed(out, sources, n, cols, &how, l->fail);
}

static void pack_read_always(weight_loader *l, const matrix_source *sources,
                             const matrix_origin *origins, size_t n, size_t cols, matrix **out)
{
    bool in_turns = n == 2; /* gate and up */
    pack(l, sources, origins, n, cols, in_turns, out);
    if (l->code == OK)
        l->m->weight_bytes += matrix_bytes(*out);
}

void loader_matrix(weight_loader *l, const char *const *names, const size_t *rows, size_t n_parts,
                   size_t cols, matrix **out)
{
    matrix_source sources[MAX_PARTS];
    matrix_origin origins[MAX_PARTS];
    for (size_t i = 0; i < n_parts; i++) {
        const gguf_tensor *t = find_tensor(l, names[i], cols, rows[i], 1);
        if (t == NULL)
            return;
        sources[i] = (matrix_source){t->type->type, t->data, rows[i]};
        origins[i] = (matrix_origin){names[i], 0};
    }
    pack_read_always(l, sources, origins, n_parts, cols, out);
}

void loader_divided_matrix(weight_loader *l, const char *name, const size_t *rows, size_t n_parts,
                           size_t cols, matrix **out)
{
    matrix_source sources[MAX_PARTS];
    matrix_origin origins[MAX_PARTS];
    size_t total = 0;
    for (size_t i = 0; i < n_parts; i++)
        total += rows[i];
    const gguf_tensor *t = find_tensor(l, name, cols, total, 1);
    if (t == NULL)
        return;
    size_t at = 0; /* bytes */
    for (size_t i = 0; i < n_parts; i++) {
        sources[i] = (matrix_source){t->type->type, (const char *)t->data + at, rows[i]};
        origins[i] = (matrix_origin){name, at / t->type->block_bytes};
        at += t->bytes / total * rows[i];
    }
    pack_read_always(l, sources, origins, n_parts, cols, out);
}

void loader_one_matrix(weight_loader *l, const char *name, size_t rows, size_t cols, matrix **out)
{
    loader_matrix(l, &name, &rows, 1, cols, out);
}

static void tell_of_head(const weight_loader *l, const gguf_tensor *t, const requantised *r)
{
    double before = (double)t->bytes / 1e6;
    double after = before * l->options->head->block_bytes / l->options->head->block_values *
                   t->type->block_values / t->type->block_bytes;
    log_info("%s: the output matrix is %s instead of %s: a token reads %.0f MB less of %.0f, its "
             "weights are off by %.1f %%, and answers are others (docs/speed.md)",
             gguf_path(l->m->file), l->options->head->name, t->type->name, before - after, before,
             100 * r->error);
}

void loader_head(weight_loader *l, const char *name, size_t rows, size_t cols, bool counted,
                 matrix **out)
{
    const gguf_tensor *t = find_tensor(l, name, cols, rows, 1);
    requantised made;
    if (t == NULL)
        return;
    l->used -= !counted;
    l->code = requantise(&made, l->m->file, t, l->options->head, l->fail);
    if (l->code != OK) {
        failure_prefix(l->fail, "head=%s: tensor '%s'", l->options->head->name, name);
        return;
    }
    const matrix_source source = {l->options->head->type, made.data, rows};
    const matrix_origin origin = {name, 0};
    const matrix_packing how = {.memory = l->m->weights, .origins = &origin}; /* at once */
    l->code = matrix_create_packed(out, &source, 1, cols, &how, l->fail);
    weight_memory_destroy(made.memory);
    if (l->code != OK)
        return;
    l->m->weight_bytes += matrix_bytes(*out);
    tell_of_head(l, t, &made);
}

static matrix_source plane_of(const gguf_tensor *t, size_t plane)
{
    size_t bytes = t->bytes / (size_t)t->dims[2];
    return (matrix_source){t->type->type, (const char *)t->data + plane * bytes,
                           (size_t)t->dims[1]};
}

void loader_experts(weight_loader *l, const char *const *names, size_t n_parts, size_t rows,
                    size_t cols, matrix ***out)
{
    const gguf_tensor *tensors[MAX_PARTS];
    size_t n = l->m->config.n_experts, bytes = 0;
    for (size_t i = 0; i < n_parts; i++)
        if ((tensors[i] = find_tensor(l, names[i], cols, rows, n)) == NULL)
            return;
    *out = calloc(n, sizeof **out);
    if (*out == NULL)
        l->code = failure_set(l->fail, ERR_MEMORY, "no memory for %zu experts", n);
    for (size_t i = 0; l->code == OK && i < n; i++) {
        matrix_source planes[MAX_PARTS];
        matrix_origin origins[MAX_PARTS];
        for (size_t part = 0; part < n_parts; part++) {
            const gguf_tensor *t = tensors[part];
            planes[part] = plane_of(t, i);
            origins[part] = (matrix_origin){names[part], i * (t->bytes / n / t->type->block_bytes)};
        }
        pack(l, planes, origins, n_parts, cols, false, &(*out)[i]);
        if (l->code == OK)
            bytes += matrix_bytes((*out)[i]);
    }
    l->m->weight_bytes += bytes / n * l->m->config.n_experts_used; /* what one row reads */
}
