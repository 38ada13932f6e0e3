/* gguf_tensors.c: the header's tensor descriptions, read, checked and found by name. */
#include "model/gguf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static error_code read_dims(gguf_reader *r, gguf_tensor *tensor, uint64_t *n_values)
{
    size_t begin = r->at;
    if (reader_u32(r, &tensor->n_dims, "its number of dimensions") != OK)
        return ERR_FORMAT;
    if (tensor->n_dims < 1 || tensor->n_dims > 4)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s has %" PRIu32 " dimensions (byte %zu); 1 to 4 are allowed", r->item,
                           tensor->n_dims, begin);
    *n_values = 1;
    for (uint32_t i = 0; i < 4; i++) {
        tensor->dims[i] = 1;
        if (i >= tensor->n_dims)
            continue;
        begin = r->at;
        if (reader_u64(r, &tensor->dims[i], "its dimensions") != OK)
            return ERR_FORMAT;
        if (tensor->dims[i] == 0)
            return failure_set(r->fail, ERR_FORMAT, "%s: dimension %" PRIu32 " (byte %zu) is zero",
                               r->item, i, begin);
        if (__builtin_mul_overflow(*n_values, tensor->dims[i], n_values))
            return failure_set(r->fail, ERR_FORMAT,
                               "%s: the product of its dimensions (byte %zu) overflows", r->item,
                               begin);
    }
    return OK;
}

static error_code read_tensor_type(gguf_reader *r, gguf_tensor *tensor)
{
    size_t begin = r->at;
    uint32_t id;
    if (reader_u32(r, &id, "its type") != OK)
        return ERR_FORMAT;
    tensor->type = tensor_type_find(id);
    if (tensor->type == NULL)
        return failure_set(
            r->fail, ERR_UNSUPPORTED,
            "%s has type %" PRIu32
            " (byte %zu), which is not supported; convert the model to F32, F16, BF16, Q8_0, "
            "Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS or MXFP4",
            r->item, id, begin);
    return OK;
}

error_code gguf_read_tensor(gguf_reader *r, gguf_tensor *tensor, uint64_t *offset, size_t index)
{
    snprintf(r->item, sizeof r->item, "tensor %zu", index);
    if (reader_name(r, &tensor->name) != OK)
        return ERR_FORMAT;
    reader_name_item(r, "tensor", tensor->name);
    uint64_t n_values = 0;
    error_code code = read_dims(r, tensor, &n_values);
    if (code == OK)
        code = read_tensor_type(r, tensor);
    if (code == OK)
        code = reader_u64(r, offset, "its offset");
    if (code != OK)
        return code;
    if (tensor->dims[0] % tensor->type->block_values != 0)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: its rows of %" PRIu64 " values are not whole blocks of %s (%" PRIu32
                           " values each)",
                           r->item, tensor->dims[0], tensor->type->name,
                           tensor->type->block_values);
    if (__builtin_mul_overflow(n_values / tensor->type->block_values, tensor->type->block_bytes,
                               &tensor->bytes))
        return failure_set(r->fail, ERR_FORMAT, "%s: its size in bytes overflows", r->item);
    return OK;
}

error_code gguf_place_tensor(const gguf *file, gguf_tensor *tensor, uint64_t offset, failure *fail)
{
    char name[96];
    utf8_printable(tensor->name.data, tensor->name.length, name, sizeof name);
    if (offset % file->alignment != 0)
        return failure_set(fail, ERR_FORMAT,
                           "tensor '%s': its offset %" PRIu64
                           " is not a multiple of the alignment %" PRIu64,
                           name, offset, file->alignment);
    uint64_t begin, end;
    if (__builtin_add_overflow((uint64_t)file->data_begin, offset, &begin) ||
        __builtin_add_overflow(begin, (uint64_t)tensor->bytes, &end))
        return failure_set(fail, ERR_FORMAT, "tensor '%s': its offset %" PRIu64 " overflows", name,
                           offset);
    if (end > file->bytes)
        return failure_set(fail, ERR_FORMAT,
                           "tensor '%s' needs bytes %" PRIu64 "..%" PRIu64
                           " but the file ends at %zu (truncated download?)",
                           name, begin, end - 1, file->bytes);
    tensor->data = file->data + begin;
    return OK;
}

static int compare_tensor_names(const void *a, const void *b)
{
    return gguf_string_compare((*(gguf_tensor *const *)a)->name, (*(gguf_tensor *const *)b)->name);
}

static int compare_tensor_places(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)(*(gguf_tensor *const *)a)->data;
    uintptr_t y = (uintptr_t)(*(gguf_tensor *const *)b)->data;
    return (x > y) - (x < y);
}

/* Tensors that share bytes are refused: it never happens in a sound file, and without them the sum
 * of all tensors is bounded by the file's size. */
error_code gguf_check_overlaps(gguf *file, failure *fail)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        file->tensors_sorted[i] = &file->tensors[i];
    qsort(file->tensors_sorted, file->n_tensors, sizeof(gguf_tensor *), compare_tensor_places);
    for (size_t i = 1; i < file->n_tensors; i++) {
        const gguf_tensor *a = file->tensors_sorted[i - 1], *b = file->tensors_sorted[i];
        if ((const char *)b->data >= (const char *)a->data + a->bytes)
            continue;
        char name_a[96], name_b[96];
        utf8_printable(a->name.data, a->name.length, name_a, sizeof name_a);
        utf8_printable(b->name.data, b->name.length, name_b, sizeof name_b);
        return failure_set(fail, ERR_FORMAT, "tensors '%s' and '%s' overlap at byte %zu", name_a,
                           name_b, (size_t)((const unsigned char *)b->data - file->data));
    }
    return OK;
}

error_code gguf_index_tensors(gguf *file, failure *fail)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        file->tensors_sorted[i] = &file->tensors[i];
    qsort(file->tensors_sorted, file->n_tensors, sizeof(gguf_tensor *), compare_tensor_names);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (compare_tensor_names(&file->tensors_sorted[i - 1], &file->tensors_sorted[i]) == 0) {
            char name[96];
            utf8_printable(file->tensors_sorted[i]->name.data, file->tensors_sorted[i]->name.length,
                           name, sizeof name);
            return failure_set(fail, ERR_FORMAT, "tensor '%s' stands in %s", name,
                               file->n_others > 0 ? "two parts of the model" : "the file twice");
        }
    return OK;
}

size_t gguf_tensor_count(const gguf *file)
{
    return file->n_tensors;
}

const gguf_tensor *gguf_tensor_at(const gguf *file, size_t index)
{
    return &file->tensors[index];
}

const gguf_tensor *gguf_tensor_find(const gguf *file, const char *name)
{
    gguf_tensor wanted = {.name = {name, strlen(name)}};
    const gguf_tensor *key = &wanted;
    gguf_tensor **found = bsearch(&key, file->tensors_sorted, file->n_tensors,
                                  sizeof(gguf_tensor *), compare_tensor_names);
    return found == NULL ? NULL : *found;
}
