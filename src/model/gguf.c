/* gguf.c: opening and mapping parts, and letting go of their pages. */
#include "model/gguf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A count in the file is believed only up to what the bytes that follow could hold, and never
 * beyond these: real files have some dozens of keys and thousands of tensors. */
#define MAX_KEYS ((size_t)1 << 16)
#define MOST_HEADER ((size_t)1 << 30) /* bytes: vocabularies take some ten MB */
#define MAX_ALIGNMENT ((uint64_t)1 << 20)

#define MIN_KEY_BYTES (8 + 1 + 4 + 1)            /* length, name, type, value */
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8) /* length, name, n_dims, one dim, type, offset */

/* ---- the whole header ----------------------------------------------------------------------- */

/* Most writers swap all but the magic. */
static error_code refuse_big_endian(failure *fail)
{
    return failure_set(fail, ERR_UNSUPPORTED,
                       "a big-endian GGUF file; only little-endian ones are supported");
}

static error_code check_magic(gguf_reader *r)
{
    if (r->bytes == 0)
        return failure_set(r->fail, ERR_FORMAT, "not a GGUF file: it is empty");
    size_t n = r->bytes < 4 ? r->bytes : 4;
    if (n == 4 && memcmp(r->data, "FUGG", n) == 0)
        return refuse_big_endian(r->fail);
    if (memcmp(r->data, "GGUF", n) != 0) {
        char magic[5] = "";
        for (size_t i = 0; i < n; i++)
            magic[i] = r->data[i] > 0x20 && r->data[i] < 0x7f ? (char)r->data[i] : '.';
        return failure_set(r->fail, ERR_FORMAT, "not a GGUF file: magic is '%s' at byte 0", magic);
    }
    r->at = n;
    return n == 4 ? OK : reader_need(r, 1, "the magic");
}

static error_code read_version(gguf *file, gguf_reader *r)
{
    if (reader_u32(r, &file->version, "the version") != OK)
        return ERR_FORMAT;
    if (file->version == 2 || file->version == 3)
        return OK;
    uint32_t swapped = __builtin_bswap32(file->version);
    if (swapped >= 1 && swapped <= 3)
        return refuse_big_endian(r->fail);
    return failure_set(r->fail, ERR_UNSUPPORTED,
                       "GGUF version %" PRIu32 " (byte 4) is not supported; 2 and 3 are",
                       file->version);
}

static error_code read_count(gguf_reader *r, size_t *out, size_t min_bytes, size_t limit,
                             const char *what)
{
    size_t begin = r->at;
    uint64_t count;
    if (reader_u64(r, &count, what) != OK)
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

static error_code find_data(gguf *file, const gguf_reader *r, failure *fail)
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

static error_code read_items(gguf *file, gguf_reader *r, uint64_t *offsets)
{
    error_code code = OK;
    for (size_t i = 0; i < file->n_keys && code == OK; i++)
        code = gguf_read_key(r, &file->keys[i], i);
    for (size_t i = 0; i < file->n_tensors && code == OK; i++)
        code = gguf_read_tensor(r, &file->tensors[i], &offsets[i], i);
    if (code == OK)
        code = gguf_index_keys(file, r->fail);
    if (code == OK)
        code = find_data(file, r, r->fail);
    for (size_t i = 0; i < file->n_tensors && code == OK; i++)
        code = gguf_place_tensor(file, &file->tensors[i], offsets[i], r->fail);
    if (code == OK)
        code = gguf_check_overlaps(file, r->fail);
    return code == OK ? gguf_index_tensors(file, r->fail) : code;
}

static error_code read_header(gguf *file, failure *fail)
{
    gguf_reader r = {.data = file->data, .bytes = file->bytes, .item = "header", .fail = fail};
    error_code code = check_magic(&r);
    if (code == OK)
        code = read_version(file, &r);
    if (code == OK)
        code = read_count(&r, &file->n_tensors, MIN_TENSOR_BYTES, GGUF_MAX_TENSORS,
                          "the tensor count");
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

/* ---- files ---------------------------------------------------------------------------------- */

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

static error_code map_file(gguf *file, failure *fail)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block us */
    if (fd < 0)
        return failure_set(fail, error_code_of_errno(errno), "cannot open: %s", strerror(errno));
    struct stat st;
    error_code code = OK;
    if (fstat(fd, &st) != 0)
        code = failure_set(fail, ERR_IO, "cannot open: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        code = failure_set(fail, ERR_IO, "cannot open: not a regular file");
    else if (st.st_size > 0) {
        file->bytes = (size_t)st.st_size;
        file->modified = st.st_mtim;
        void *data = mmap(NULL, file->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            code = failure_set(fail, error_code_of_errno(errno), "cannot map %zu bytes: %s",
                               file->bytes, strerror(errno));
        else {
            file->data = data;
            file->mapped_bytes = whole_pages(file->bytes);
        }
    }
    file->fd = fd;
    return code;
}

/* The header's pages become a copy of themselves at the same addresses, for strings point to them:
 * a file that is cut while it is read takes mapped pages with it, and who looks at them. */
static error_code keep_header(gguf *file, failure *fail)
{
    if (file->data_begin > MOST_HEADER)
        return failure_set(fail, ERR_FORMAT, "the header has %zu bytes; at most %zu are read",
                           (size_t)file->data_begin, MOST_HEADER);
    size_t kept = whole_pages(file->data_begin < file->bytes ? file->data_begin : file->bytes);
    size_t used = kept < file->bytes ? kept : file->bytes;
    void *data = (void *)(uintptr_t)file->data;
    void *fresh =
        mmap(data, kept, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (fresh == MAP_FAILED)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu bytes of keys", kept);
    file->header_bytes = kept;
    return gguf_fetch(file, data, fresh, used, fail);
}

error_code gguf_open_part(gguf **out, const char *path, failure *fail)
{
    *out = NULL;
    gguf *file = calloc(1, sizeof *file);
    if (file == NULL || (file->path = strdup(path)) == NULL) {
        free(file);
        return failure_set(fail, ERR_MEMORY, "%s: no memory", path);
    }
    file->fd = -1;
    error_code code = map_file(file, fail);
    if (code == OK)
        code = read_header(file, fail);
    if (code == OK)
        code = keep_header(file, fail);
    if (code != OK) {
        failure_prefix(fail, "%s", path);
        gguf_close(file);
        return code;
    }
    *out = file;
    return OK;
}

error_code gguf_open(gguf **out, const char *path, failure *fail)
{
    failure local;
    if (fail == NULL)
        fail = &local;
    error_code code = gguf_open_part(out, path, fail);
    if (code == OK)
        code = gguf_join_parts(*out, fail);
    if (code != OK) {
        gguf_close(*out);
        *out = NULL;
    }
    return code;
}

void gguf_close(gguf *file)
{
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->n_others; i++)
        gguf_close(file->others[i]);
    free(file->others);
    if (file->data != NULL)
        munmap((void *)(uintptr_t)file->data, file->mapped_bytes);
    if (file->fd >= 0)
        close(file->fd);
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

size_t gguf_part_count(const gguf *file)
{
    return file->n_others + 1;
}

const char *gguf_part_path(const gguf *file, size_t index)
{
    return index == 0 ? file->path : file->others[index - 1]->path;
}

uint64_t gguf_file_bytes(const gguf *file)
{
    uint64_t bytes = file->bytes;
    for (size_t i = 0; i < file->n_others; i++)
        bytes += file->others[i]->bytes;
    return bytes;
}

void gguf_drop_pages(const gguf *file)
{
    if (file->data != NULL)
        madvise((char *)(uintptr_t)file->data + file->header_bytes,
                file->mapped_bytes - file->header_bytes, MADV_DONTNEED);
    for (size_t i = 0; i < file->n_others; i++)
        gguf_drop_pages(file->others[i]);
}

/* The part of a model that the bytes are in. */
static const gguf *part_of(const gguf *file, const unsigned char *at)
{
    for (size_t i = 0; i < file->n_others; i++)
        if (at >= file->others[i]->data && at < file->others[i]->data + file->others[i]->bytes)
            return file->others[i];
    return file;
}

error_code gguf_fetch(const gguf *file, const void *from, void *into, size_t bytes, failure *fail)
{
    const gguf *part = part_of(file, from);
    off_t at = (const unsigned char *)from - part->data;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(part->fd, (char *)into + done, bytes - done, at + (off_t)done);
        if (n == 0)
            return failure_set(fail, ERR_IO, "the file became shorter while it was read");
        if (n < 0 && errno != EINTR)
            return failure_set(fail, ERR_IO, "cannot read: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return OK;
}

static error_code check_unchanged(const gguf *file, failure *fail)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0)
        return failure_set(fail, ERR_IO, "cannot read: %s", strerror(errno));
    if ((size_t)st.st_size == file->bytes && st.st_mtim.tv_sec == file->modified.tv_sec &&
        st.st_mtim.tv_nsec == file->modified.tv_nsec)
        return OK;
    return failure_set(fail, ERR_IO,
                       "the file was written to while it was read; try again when it "
                       "is whole");
}

error_code gguf_release_data(gguf *file, failure *fail)
{
    error_code code = check_unchanged(file, fail);
    if (code == OK && file->header_bytes < file->mapped_bytes) {
        munmap((char *)(uintptr_t)file->data + file->header_bytes,
               file->mapped_bytes - file->header_bytes);
        file->mapped_bytes = file->header_bytes;
    }
    for (size_t i = 0; code == OK && i < file->n_others; i++)
        code = gguf_release_data(file->others[i], fail);
    if (code != OK)
        return code;
    for (size_t i = 0; i < file->n_tensors; i++)
        file->tensors[i].data = NULL;
    close(file->fd);
    file->fd = -1;
    return OK;
}
