/* gguf_write.c: keys and descriptions in memory, data straight into the partial file. */
#include "model/gguf_write.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/utf8.h"
#include "base/whole_file.h"
#include "model/gguf_internal.h"

#define MAX_HEADER_BYTES ((size_t)1 << 29) /* of keys and of tensor descriptions each */
#define DEFAULT_ALIGNMENT 32

struct gguf_writer {
    char *path;
    whole_file *file; /* NULL before begin and after finish */
    failure problem;  /* the first one while the header was put together */
    buffer keys, tensors;
    uint64_t n_keys, n_tensors;
    uint64_t alignment;
    uint64_t *tensor_bytes; /* without padding */
    size_t tensors_capacity;

    uint64_t file_bytes;
    size_t current;     /* the tensor whose data comes next */
    uint64_t remaining; /* bytes it still needs */
};

error_code gguf_writer_create(gguf_writer **out, const char *path, failure *fail)
{
    gguf_writer *w = calloc(1, sizeof *w);
    if (w == NULL || (w->path = strdup(path)) == NULL) {
        free(w);
        return failure_set(fail, ERR_MEMORY, "%s: no memory", path);
    }
    w->alignment = DEFAULT_ALIGNMENT;
    buffer_init(&w->keys, MAX_HEADER_BYTES);
    buffer_init(&w->tensors, MAX_HEADER_BYTES);
    *out = w;
    return OK;
}

void gguf_writer_destroy(gguf_writer *w)
{
    if (w == NULL)
        return;
    whole_file_abandon(w->file);
    buffer_free(&w->keys);
    buffer_free(&w->tensors);
    free(w->tensor_bytes);
    free(w->path);
    free(w);
}

/* ---- the header ----------------------------------------------------------------------------- */

static void put(gguf_writer *w, buffer *b, const void *data, size_t bytes)
{
    if (w->problem.code != OK || bytes == 0)
        return;
    error_code code = buffer_add(b, data, bytes);
    if (code != OK)
        failure_set(&w->problem, code, "%s: the header of more than %zu bytes: %s", w->path,
                    b->length, error_code_text(code));
}

static void put_u32(gguf_writer *w, buffer *b, uint32_t value)
{
    put(w, b, &value, sizeof value);
}

static void put_u64(gguf_writer *w, buffer *b, uint64_t value)
{
    put(w, b, &value, sizeof value);
}

static void put_string(gguf_writer *w, buffer *b, gguf_string text)
{
    put_u64(w, b, text.length);
    put(w, b, text.data, text.length);
}

static gguf_string string_of(const char *text)
{
    return (gguf_string){text, strlen(text)};
}

static void put_key(gguf_writer *w, gguf_string name, gguf_type type)
{
    put_string(w, &w->keys, name);
    put_u32(w, &w->keys, (uint32_t)type);
    w->n_keys++;
}

static void put_array(gguf_writer *w, gguf_string name, gguf_type element, size_t n)
{
    put_key(w, name, GGUF_ARRAY);
    put_u32(w, &w->keys, (uint32_t)element);
    put_u64(w, &w->keys, n);
}

static void put_strings(gguf_writer *w, gguf_string name, const gguf_string *items, size_t n)
{
    put_array(w, name, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_string(w, &w->keys, items[i]);
}

void gguf_writer_u32(gguf_writer *w, const char *name, uint32_t value)
{
    put_key(w, string_of(name), GGUF_U32);
    put_u32(w, &w->keys, value);
}

void gguf_writer_f32(gguf_writer *w, const char *name, float value)
{
    put_key(w, string_of(name), GGUF_F32);
    put(w, &w->keys, &value, sizeof value);
}

void gguf_writer_bool(gguf_writer *w, const char *name, bool value)
{
    uint8_t byte = value ? 1 : 0;
    put_key(w, string_of(name), GGUF_BOOL);
    put(w, &w->keys, &byte, sizeof byte);
}

void gguf_writer_text(gguf_writer *w, const char *name, const char *text)
{
    put_key(w, string_of(name), GGUF_STRING);
    put_string(w, &w->keys, string_of(text));
}

void gguf_writer_text_array(gguf_writer *w, const char *name, const gguf_string *items, size_t n)
{
    put_strings(w, string_of(name), items, n);
}

void gguf_writer_i32_array(gguf_writer *w, const char *name, const int32_t *values, size_t n)
{
    put_array(w, string_of(name), GGUF_I32, n);
    put(w, &w->keys, values, n * sizeof *values);
}

void gguf_writer_copy_key(gguf_writer *w, const gguf *file, size_t index)
{
    const gguf_key *key = &file->keys[index];
    if (gguf_string_compare(key->name, string_of("general.alignment")) == 0)
        w->alignment = file->alignment; /* which the reader has checked */
    if (key->type == GGUF_STRING) {
        put_key(w, key->name, GGUF_STRING);
        put_string(w, &w->keys, key->text);
    } else if (key->type != GGUF_ARRAY) {
        put_key(w, key->name, key->type);
        put(w, &w->keys, key->value, gguf_type_bytes(key->type));
    } else if (key->element == GGUF_STRING) {
        put_strings(w, key->name, key->items, key->count);
    } else {
        put_array(w, key->name, key->element, key->count);
        put(w, &w->keys, key->value, key->count * gguf_type_bytes(key->element));
    }
}

/* ---- tensors -------------------------------------------------------------------------------- */

static error_code refuse_tensor(gguf_writer *w, gguf_string name, error_code code, const char *why)
{
    char text[96];
    utf8_printable(name.data, name.length, text, sizeof text);
    return failure_set(&w->problem, code, "%s: tensor '%s' %s", w->path, text, why);
}

static error_code tensor_size(gguf_writer *w, gguf_string name, uint32_t n_dims,
                              const uint64_t *dims, const tensor_type_info *type, uint64_t *bytes)
{
    uint64_t values = 1;
    if (n_dims < 1 || n_dims > 4)
        return refuse_tensor(w, name, ERR_INVALID, "has not one to four dimensions");
    for (uint32_t i = 0; i < n_dims; i++)
        if (dims[i] == 0 || __builtin_mul_overflow(values, dims[i], &values))
            return refuse_tensor(w, name, ERR_INVALID, "has an impossible size");
    if (dims[0] % type->block_values != 0)
        return refuse_tensor(w, name, ERR_INVALID, "has rows that are not whole blocks");
    if (__builtin_mul_overflow(values / type->block_values, type->block_bytes, bytes))
        return refuse_tensor(w, name, ERR_TOO_LARGE, "is too large");
    return OK;
}

static error_code remember_size(gguf_writer *w, uint64_t bytes)
{
    if (w->n_tensors == w->tensors_capacity) {
        size_t capacity = w->tensors_capacity == 0 ? 64 : 2 * w->tensors_capacity;
        uint64_t *grown = reallocarray(w->tensor_bytes, capacity, sizeof *grown);
        if (grown == NULL)
            return failure_set(&w->problem, ERR_MEMORY, "%s: no memory for %zu tensors", w->path,
                               capacity);
        w->tensor_bytes = grown;
        w->tensors_capacity = capacity;
    }
    w->tensor_bytes[w->n_tensors++] = bytes;
    return OK;
}

/* Its offset follows in gguf_writer_begin, when the alignment is known for sure. */
void gguf_writer_tensor(gguf_writer *w, gguf_string name, uint32_t n_dims, const uint64_t *dims,
                        const tensor_type_info *type)
{
    uint64_t bytes = 0;
    if (w->problem.code != OK || tensor_size(w, name, n_dims, dims, type, &bytes) != OK ||
        remember_size(w, bytes) != OK)
        return;
    put_string(w, &w->tensors, name);
    put_u32(w, &w->tensors, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        put_u64(w, &w->tensors, dims[i]);
    put_u32(w, &w->tensors, (uint32_t)type->type);
    put_u64(w, &w->tensors, 0);
}

/* ---- the file ------------------------------------------------------------------------------- */

static uint64_t padding_after(const gguf_writer *w, uint64_t bytes)
{
    return (w->alignment - bytes % w->alignment) % w->alignment;
}

static error_code write_padding(const gguf_writer *w, uint64_t bytes, failure *fail)
{
    static const char zeros[4096];
    error_code code = OK;
    for (uint64_t left = padding_after(w, bytes); left > 0 && code == OK;) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        code = whole_file_add(w->file, zeros, n, fail);
        left -= n;
    }
    return code;
}

/* Puts the offsets into the descriptions, whose last field each one is. */
static error_code place_tensors(gguf_writer *w, uint64_t header_bytes)
{
    uint64_t offset = 0;
    size_t at = 0;
    for (size_t i = 0; i < w->n_tensors; i++) {
        uint64_t name_bytes;
        uint32_t n_dims;
        memcpy(&name_bytes, w->tensors.data + at, sizeof name_bytes);
        at += sizeof name_bytes + name_bytes;
        memcpy(&n_dims, w->tensors.data + at, sizeof n_dims);
        at += sizeof n_dims + n_dims * sizeof(uint64_t) + sizeof(uint32_t);
        memcpy(w->tensors.data + at, &offset, sizeof offset);
        at += sizeof offset;
        uint64_t bytes = w->tensor_bytes[i];
        if (__builtin_add_overflow(offset, bytes, &offset) ||
            __builtin_add_overflow(offset, padding_after(w, bytes), &offset) || offset > INT64_MAX)
            return failure_set(&w->problem, ERR_TOO_LARGE, "%s: its tensors are too large together",
                               w->path);
    }
    w->file_bytes = header_bytes + padding_after(w, header_bytes) + offset;
    return OK;
}

static void next_tensor(gguf_writer *w, size_t index)
{
    w->current = index;
    w->remaining = index < w->n_tensors ? w->tensor_bytes[index] : 0;
}

error_code gguf_writer_begin(gguf_writer *w, failure *fail)
{
    const uint64_t counts[2] = {w->n_tensors, w->n_keys};
    const uint32_t version = 3;
    uint64_t header_bytes = 8 + sizeof counts + w->keys.length + w->tensors.length;
    if (w->problem.code == OK)
        place_tensors(w, header_bytes);
    if (w->problem.code != OK)
        return failure_set(fail, w->problem.code, "%s", w->problem.text);
    error_code code = whole_file_begin(&w->file, w->path, 0666, fail);
    if (code == OK)
        code = whole_file_reserve(w->file, w->file_bytes, fail);
    if (code == OK)
        code = whole_file_add(w->file, "GGUF", 4, fail);
    if (code == OK)
        code = whole_file_add(w->file, &version, sizeof version, fail);
    if (code == OK)
        code = whole_file_add(w->file, counts, sizeof counts, fail);
    if (code == OK)
        code = whole_file_add(w->file, w->keys.data, w->keys.length, fail);
    if (code == OK)
        code = whole_file_add(w->file, w->tensors.data, w->tensors.length, fail);
    if (code == OK)
        code = write_padding(w, header_bytes, fail);
    next_tensor(w, 0);
    return code;
}

error_code gguf_writer_data(gguf_writer *w, const void *data, size_t bytes, failure *fail)
{
    if (bytes > w->remaining)
        return failure_set(fail, ERR_INTERNAL, "%s: tensor %zu got more data than it has room for",
                           w->path, w->current);
    error_code code = whole_file_add(w->file, data, bytes, fail);
    w->remaining -= bytes;
    if (code != OK || w->remaining > 0)
        return code;
    code = write_padding(w, w->tensor_bytes[w->current], fail);
    next_tensor(w, w->current + 1);
    return code;
}

error_code gguf_writer_finish(gguf_writer *w, failure *fail)
{
    if (w->file == NULL || w->current < w->n_tensors)
        return failure_set(fail, ERR_INTERNAL, "%s: tensor %zu is not whole", w->path, w->current);
    whole_file *file = w->file;
    w->file = NULL;
    return whole_file_commit(file, WHOLE_FILE_SYNCED, fail);
}

uint64_t gguf_writer_file_bytes(const gguf_writer *w)
{
    return w->file_bytes;
}
