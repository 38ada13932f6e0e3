#include "model/gguf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"

/* A count in the file is believed only up to what the bytes that follow could hold, and never
 * beyond these: real files have some dozens of keys, thousands of tensors and under a million
 * strings. */
#define MAX_KEYS ((size_t)1 << 16)
#define MAX_TENSORS ((size_t)1 << 20)
#define MAX_STRINGS ((size_t)1 << 24)
#define MAX_NAME_BYTES ((size_t)65535)
#define MAX_ALIGNMENT ((uint64_t)1 << 20)

#define MIN_KEY_BYTES (8 + 1 + 4 + 1)            /* length, name, type, value */
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8) /* length, name, n_dims, one dim, type, offset */

/* The place in the header that is being read. `item` says which key or tensor that is. */
typedef struct reader {
    const unsigned char *data;
    size_t bytes;
    size_t at;
    size_t n_strings;
    char item[128];
    failure *fail;
} reader;

static error_code need(const reader *r, size_t bytes, const char *what)
{
    if (bytes <= r->bytes - r->at)
        return OK;
    return failure_set(r->fail, ERR_FORMAT,
                       "%s: %s needs bytes %zu..%zu but the file ends at %zu (truncated download?)",
                       r->item, what, r->at, r->at + (bytes - 1), r->bytes);
}

static error_code read_u32(reader *r, uint32_t *out, const char *what)
{
    if (need(r, sizeof *out, what) != OK)
        return ERR_FORMAT;
    memcpy(out, r->data + r->at, sizeof *out);
    r->at += sizeof *out;
    return OK;
}

static error_code read_u64(reader *r, uint64_t *out, const char *what)
{
    if (need(r, sizeof *out, what) != OK)
        return ERR_FORMAT;
    memcpy(out, r->data + r->at, sizeof *out);
    r->at += sizeof *out;
    return OK;
}

static error_code read_string(reader *r, gguf_string *out, const char *what)
{
    size_t begin = r->at;
    uint64_t length;
    if (read_u64(r, &length, what) != OK)
        return ERR_FORMAT;
    if (length > r->bytes - r->at)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: %s at byte %zu says it is %" PRIu64
                           " bytes long but the file ends at %zu (truncated download?)",
                           r->item, what, begin, length, r->bytes);
    out->data = (const char *)r->data + r->at;
    out->length = (size_t)length;
    r->at += out->length;
    return OK;
}

static error_code read_name(reader *r, gguf_string *out)
{
    size_t begin = r->at;
    if (read_string(r, out, "its name") != OK)
        return ERR_FORMAT;
    if (out->length == 0 || out->length > MAX_NAME_BYTES)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: its name at byte %zu is %zu bytes long; 1 to %zu are allowed",
                           r->item, begin, out->length, MAX_NAME_BYTES);
    return OK;
}

/* "tensor 'blk.0.attn_q.weight'": from here on messages name the item instead of counting it. */
static void name_item(reader *r, const char *kind, gguf_string name)
{
    char text[96];
    utf8_printable(name.data, name.length, text, sizeof text);
    snprintf(r->item, sizeof r->item, "%s '%s'", kind, text);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static error_code read_type(reader *r, gguf_type *out, const char *what)
{
    size_t begin = r->at;
    uint32_t id;
    if (read_u32(r, &id, what) != OK)
        return ERR_FORMAT;
    if (id > GGUF_F64)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s: %s at byte %zu is %" PRIu32 "; known are 0 to %d", r->item, what,
                           begin, id, GGUF_F64);
    *out = (gguf_type)id;
    return OK;
}

static error_code check_bools(reader *r, const gguf_key *key, gguf_type type)
{
    if (type != GGUF_BOOL)
        return OK;
    for (size_t i = 0; i < key->count; i++)
        if (key->value[i] > 1)
            return failure_set(r->fail, ERR_FORMAT, "%s: the bool at byte %zu is %u, not 0 or 1",
                               r->item, (size_t)(key->value - r->data) + i, key->value[i]);
    return OK;
}

static error_code read_strings(reader *r, gguf_key *key)
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
        if (read_string(r, &key->items[i], "a string of the array") != OK)
            return ERR_FORMAT;
    return OK;
}

static error_code read_array(reader *r, gguf_key *key)
{
    uint64_t count;
    if (read_type(r, &key->element, "the array's element type") != OK)
        return ERR_FORMAT;
    if (key->element == GGUF_ARRAY)
        return failure_set(r->fail, ERR_FORMAT, "%s: an array of arrays (byte %zu) is not allowed",
                           r->item, r->at - 4);
    if (read_u64(r, &count, "the array's count") != OK)
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

static error_code read_key(reader *r, gguf_key *key, size_t index)
{
    snprintf(r->item, sizeof r->item, "key %zu", index);
    if (read_name(r, &key->name) != OK)
        return ERR_FORMAT;
    name_item(r, "key", key->name);
    if (read_type(r, &key->type, "the value's type") != OK)
        return ERR_FORMAT;
    if (key->type == GGUF_ARRAY)
        return read_array(r, key);
    key->count = 1;
    if (key->type == GGUF_STRING)
        return read_string(r, &key->text, "its text");
    size_t bytes = gguf_type_bytes(key->type);
    if (need(r, bytes, "its value") != OK)
        return ERR_FORMAT;
    key->value = r->data + r->at;
    r->at += bytes;
    return check_bools(r, key, key->type);
}

static int compare_keys(const void *a, const void *b)
{
    return gguf_string_compare((*(gguf_key *const *)a)->name, (*(gguf_key *const *)b)->name);
}

static error_code index_keys(gguf *file, failure *fail)
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

/* ---- tensors -------------------------------------------------------------------------------- */

static error_code read_dims(reader *r, gguf_tensor *tensor, uint64_t *n_values)
{
    size_t begin = r->at;
    if (read_u32(r, &tensor->n_dims, "its number of dimensions") != OK)
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
        if (read_u64(r, &tensor->dims[i], "its dimensions") != OK)
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

static error_code read_tensor_type(reader *r, gguf_tensor *tensor)
{
    size_t begin = r->at;
    uint32_t id;
    if (read_u32(r, &id, "its type") != OK)
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

/* Leaves the offset into the data section in tensor->data until place_tensors knows where that is.
 */
static error_code read_tensor(reader *r, gguf_tensor *tensor, uint64_t *offset, size_t index)
{
    snprintf(r->item, sizeof r->item, "tensor %zu", index);
    if (read_name(r, &tensor->name) != OK)
        return ERR_FORMAT;
    name_item(r, "tensor", tensor->name);
    uint64_t n_values = 0;
    error_code code = read_dims(r, tensor, &n_values);
    if (code == OK)
        code = read_tensor_type(r, tensor);
    if (code == OK)
        code = read_u64(r, offset, "its offset");
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

static error_code place_tensor(const gguf *file, gguf_tensor *tensor, uint64_t offset,
                               failure *fail)
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
static error_code check_overlaps(const gguf *file, failure *fail)
{
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

static error_code index_tensors(gguf *file, failure *fail)
{
    for (size_t i = 0; i < file->n_tensors; i++)
        file->tensors_sorted[i] = &file->tensors[i];
    error_code code = check_overlaps(file, fail);
    if (code != OK)
        return code;
    qsort(file->tensors_sorted, file->n_tensors, sizeof(gguf_tensor *), compare_tensor_names);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (compare_tensor_names(&file->tensors_sorted[i - 1], &file->tensors_sorted[i]) == 0) {
            char name[96];
            utf8_printable(file->tensors_sorted[i]->name.data, file->tensors_sorted[i]->name.length,
                           name, sizeof name);
            return failure_set(fail, ERR_FORMAT, "tensor '%s' stands in the file twice", name);
        }
    return OK;
}

/* ---- the whole header ----------------------------------------------------------------------- */

static error_code check_magic(reader *r)
{
    if (r->bytes == 0)
        return failure_set(r->fail, ERR_FORMAT, "not a GGUF file: it is empty");
    size_t n = r->bytes < 4 ? r->bytes : 4;
    if (memcmp(r->data, "GGUF", n) != 0) {
        char magic[5] = "";
        for (size_t i = 0; i < n; i++)
            magic[i] = r->data[i] > 0x20 && r->data[i] < 0x7f ? (char)r->data[i] : '.';
        return failure_set(r->fail, ERR_FORMAT, "not a GGUF file: magic is '%s' at byte 0", magic);
    }
    r->at = n;
    return n == 4 ? OK : need(r, 1, "the magic");
}

static error_code read_version(gguf *file, reader *r)
{
    if (read_u32(r, &file->version, "the version") != OK)
        return ERR_FORMAT;
    if (file->version == 2 || file->version == 3)
        return OK;
    uint32_t swapped = __builtin_bswap32(file->version);
    if (swapped >= 1 && swapped <= 3)
        return failure_set(r->fail, ERR_UNSUPPORTED,
                           "a big-endian GGUF file; only little-endian ones are supported");
    return failure_set(r->fail, ERR_UNSUPPORTED,
                       "GGUF version %" PRIu32 " (byte 4) is not supported; 2 and 3 are",
                       file->version);
}

static error_code read_count(reader *r, size_t *out, size_t min_bytes, size_t limit,
                             const char *what)
{
    size_t begin = r->at;
    uint64_t count;
    if (read_u64(r, &count, what) != OK)
        return ERR_FORMAT;
    if (count > limit)
        return failure_set(r->fail, ERR_FORMAT, "%s at byte %zu is %" PRIu64 "; the limit is %zu",
                           what, begin, count, limit);
    if (count > (r->bytes - r->at) / min_bytes)
        return failure_set(r->fail, ERR_FORMAT,
                           "%s at byte %zu is %" PRIu64
                           ", more than fit before the file ends at %zu (truncated download?)",
                           what, begin, count, r->bytes);
    *out = (size_t)count;
    return OK;
}

static error_code allocate_tables(gguf *file, uint64_t **offsets, failure *fail)
{
    /* One more than needed, because calloc(0) may return NULL. */
    file->keys = calloc(file->n_keys + 1, sizeof *file->keys);
    file->keys_sorted = calloc(file->n_keys + 1, sizeof *file->keys_sorted);
    file->tensors = calloc(file->n_tensors + 1, sizeof *file->tensors);
    file->tensors_sorted = calloc(file->n_tensors + 1, sizeof *file->tensors_sorted);
    *offsets = calloc(file->n_tensors + 1, sizeof **offsets);
    if (file->keys == NULL || file->keys_sorted == NULL || file->tensors == NULL ||
        file->tensors_sorted == NULL || *offsets == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu keys and %zu tensors", file->n_keys,
                           file->n_tensors);
    return OK;
}

static error_code find_data(gguf *file, const reader *r, failure *fail)
{
    file->alignment = 32;
    if (gguf_has(file, "general.alignment") &&
        !gguf_u64(file, "general.alignment", &file->alignment))
        return failure_set(fail, ERR_FORMAT, "key 'general.alignment' is not a whole number");
    uint64_t a = file->alignment;
    if (a < 8 || a > MAX_ALIGNMENT || (a & (a - 1)) != 0)
        return failure_set(fail, ERR_FORMAT,
                           "key 'general.alignment' is %" PRIu64
                           ", not a power of two from 8 to %" PRIu64,
                           a, MAX_ALIGNMENT);
    /* Cannot overflow: r->at is inside a mapping, and the alignment is small. */
    file->data_begin = (r->at + (size_t)a - 1) & ~((size_t)a - 1);
    return OK;
}

static error_code read_items(gguf *file, reader *r, uint64_t *offsets)
{
    error_code code = OK;
    for (size_t i = 0; i < file->n_keys && code == OK; i++)
        code = read_key(r, &file->keys[i], i);
    for (size_t i = 0; i < file->n_tensors && code == OK; i++)
        code = read_tensor(r, &file->tensors[i], &offsets[i], i);
    if (code == OK)
        code = index_keys(file, r->fail);
    if (code == OK)
        code = find_data(file, r, r->fail);
    for (size_t i = 0; i < file->n_tensors && code == OK; i++)
        code = place_tensor(file, &file->tensors[i], offsets[i], r->fail);
    return code == OK ? index_tensors(file, r->fail) : code;
}

static error_code read_header(gguf *file, failure *fail)
{
    reader r = {.data = file->data, .bytes = file->bytes, .item = "header", .fail = fail};
    error_code code = check_magic(&r);
    if (code == OK)
        code = read_version(file, &r);
    if (code == OK)
        code = read_count(&r, &file->n_tensors, MIN_TENSOR_BYTES, MAX_TENSORS, "the tensor count");
    if (code == OK)
        code = read_count(&r, &file->n_keys, MIN_KEY_BYTES, MAX_KEYS, "the key count");
    if (code != OK) {
        file->n_tensors = file->n_keys = 0;
        return code;
    }
    uint64_t *offsets = NULL;
    code = allocate_tables(file, &offsets, fail);
    if (code == OK)
        code = read_items(file, &r, offsets);
    free(offsets);
    return code;
}

static error_code map_file(gguf *file, failure *fail)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
    if (fd < 0)
        return failure_set(fail, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot open: %s",
                           strerror(errno));
    struct stat st;
    error_code code = OK;
    if (fstat(fd, &st) != 0)
        code = failure_set(fail, ERR_IO, "cannot open: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        code = failure_set(fail, ERR_IO, "cannot open: not a regular file");
    else if (st.st_size > 0) {
        file->bytes = (size_t)st.st_size;
        void *data = mmap(NULL, file->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            code =
                failure_set(fail, ERR_IO, "cannot map %zu bytes: %s", file->bytes, strerror(errno));
        else
            file->data = data;
    }
    close(fd);
    return code;
}

error_code gguf_open(gguf **out, const char *path, failure *fail)
{
    failure local;
    if (fail == NULL)
        fail = &local;
    *out = NULL;
    gguf *file = calloc(1, sizeof *file);
    if (file == NULL || (file->path = strdup(path)) == NULL) {
        free(file);
        return failure_set(fail, ERR_MEMORY, "%s: no memory", path);
    }
    error_code code = map_file(file, fail);
    if (code == OK)
        code = read_header(file, fail);
    if (code != OK) {
        failure_prefix(fail, "%s", path);
        gguf_close(file);
        return code;
    }
    *out = file;
    return OK;
}

void gguf_close(gguf *file)
{
    if (file == NULL)
        return;
    if (file->data != NULL)
        munmap((void *)(uintptr_t)file->data, file->bytes);
    if (file->keys != NULL)
        for (size_t i = 0; i < file->n_keys; i++)
            free(file->keys[i].items);
    free(file->keys);
    free(file->keys_sorted);
    free(file->tensors);
    free(file->tensors_sorted);
    free(file->path);
    free(file);
}

const char *gguf_path(const gguf *file)
{
    return file->path;
}

uint32_t gguf_version(const gguf *file)
{
    return file->version;
}

uint64_t gguf_file_bytes(const gguf *file)
{
    return file->bytes;
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

void gguf_drop_pages(const gguf *file)
{
    if (file->data != NULL)
        madvise((void *)(uintptr_t)file->data, file->bytes, MADV_DONTNEED);
}
