/* gguf_read_keys.c: the header's keys, read and checked; gguf_keys.c looks their values up. */
#include "model/gguf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* Real files have under a million strings. */
#define MAX_STRINGS ((size_t)1 << 24)

static error_code read_type(gguf_reader *r, gguf_type *out, const char *what)
{
    size_t begin = r->at;
    uint32_t id;
    if (reader_u32(r, &id, what) != OK)
        return ERR_FORMAT;
    if (id > GGUF_F64)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: %s at byte %zu is %" PRIu32 "; known are 0 to %d", r->item, what,
                           begin, id, GGUF_F64);
    *out = (gguf_type)id;
    return OK;
}

static error_code check_bools(gguf_reader *r, const gguf_key *key, gguf_type type)
{
    if (type != GGUF_BOOL)
        return OK;
    for (size_t i = 0; i < key->count; i++)
        if (key->value[i] > 1)
            return failure_set(r->fail, ERR_FORMAT, "%s: the bool at byte %zu is %u, not 0 or 1",
                               r->item, (size_t)(key->value - r->data) + i, key->value[i]);
    return OK;
}

static error_code read_strings(gguf_reader *r, gguf_key *key)
{
    r->n_strings += key->count;
    if (key->count > MAX_STRINGS || r->n_strings > MAX_STRINGS)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: the file's arrays hold more than %zu strings; that is the limit",
                           r->item, MAX_STRINGS);
    key->items = calloc(key->count > 0 ? key->count : 1, sizeof *key->items);
    if (key->items == NULL)
        return failure_set(r->fail, ERR_MEMORY, "%s: no memory for %zu strings", r->item,
                           key->count);
    for (size_t i = 0; i < key->count; i++)
        if (reader_string(r, &key->items[i], "a string of the array") != OK)
            return ERR_FORMAT;
    return OK;
}

static error_code read_array(gguf_reader *r, gguf_key *key)
{
    uint64_t count;
    if (read_type(r, &key->element, "the array's element type") != OK)
        return ERR_FORMAT;
    if (key->element == GGUF_ARRAY)
        return failure_set(r->fail, ERR_FORMAT, "%s: an array of arrays (byte %zu) is not allowed",
                           r->item, r->at - 4);
    if (reader_u64(r, &count, "the array's count") != OK)
        return ERR_FORMAT;
    size_t least = key->element == GGUF_STRING ? 8 : gguf_type_bytes(key->element);
    if (count > (r->bytes - r->at) / least)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: an array of %" PRIu64
                           " values at byte %zu is longer than the rest of the file, which ends at "
                           "%zu (truncated download?)",
                           r->item, count, r->at, r->bytes);
    key->count = (size_t)count;
    if (key->element == GGUF_STRING)
        return read_strings(r, key);
    key->value = r->data + r->at;
    r->at += key->count * least;
    return check_bools(r, key, key->element);
}

error_code gguf_read_key(gguf_reader *r, gguf_key *key, size_t index)
{
    snprintf(r->item, sizeof r->item, "key %zu", index);
    if (reader_name(r, &key->name) != OK)
        return ERR_FORMAT;
    reader_name_item(r, "key", key->name);
    if (read_type(r, &key->type, "the value's type") != OK)
        return ERR_FORMAT;
    if (key->type == GGUF_ARRAY)
        return read_array(r, key);
    key->count = 1;
    if (key->type == GGUF_STRING)
        return reader_string(r, &key->text, "its text");
    size_t bytes = gguf_type_bytes(key->type);
    if (reader_need(r, bytes, "its value") != OK)
        return ERR_FORMAT;
    key->value = r->data + r->at;
    r->at += bytes;
    return check_bools(r, key, key->type);
}

static int compare_keys(const void *a, const void *b)
{
    return gguf_string_compare((*(gguf_key *const *)a)->name, (*(gguf_key *const *)b)->name);
}

error_code gguf_index_keys(gguf *file, failure *fail)
{
    for (size_t i = 0; i < file->n_keys; i++)
        file->keys_sorted[i] = &file->keys[i];
    qsort(file->keys_sorted, file->n_keys, sizeof(gguf_key *), compare_keys);
    for (size_t i = 1; i < file->n_keys; i++)
        if (compare_keys(&file->keys_sorted[i - 1], &file->keys_sorted[i]) == 0) {
            char name[96];
            utf8_printable(file->keys_sorted[i]->name.data, file->keys_sorted[i]->name.length, name,
                           sizeof name);
            return failure_set(fail, ERR_FORMAT, "key '%s' stands in the file twice", name);
        }
    return OK;
}
