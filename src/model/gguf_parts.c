/*
 * gguf_parts.c: models split over several files, as llama.cpp's gguf-split writes them: each part
 * is a GGUF file of its own whose keys say which one it is (split.no, from 0), how many there are
 * (split.count) and how many tensors all of them hold (split.tensors.count).
 */
#include "model/gguf_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PARTS 99999 /* what the names have digits for */
#define SUFFIX_SIZE sizeof "-00001-of-00001.gguf"

static void part_suffix(char text[SUFFIX_SIZE], size_t number, size_t count)
{
    snprintf(text, SUFFIX_SIZE, "-%05zu-of-%05zu.gguf", number % (MAX_PARTS + 1),
             count % (MAX_PARTS + 1));
}

/* The key's value, or `fallback` when it is absent. */
static error_code split_key(const gguf *part, const char *key, uint64_t fallback, uint64_t most,
                            uint64_t *out, failure *fail)
{
    *out = fallback;
    if (!gguf_has(part, key))
        return OK;
    if (gguf_u64(part, key, out) && *out <= most)
        return OK;
    return failure_set(fail, ERR_FORMAT, "key '%s' is not a whole number from 0 to %" PRIu64, key,
                       most);
}

/* Where "-00002-of-00003.gguf" begins in a part's path; NULL when it is named otherwise. */
static const char *find_suffix(const char *path, size_t number, size_t count)
{
    char suffix[SUFFIX_SIZE];
    part_suffix(suffix, number, count);
    size_t length = strlen(path);
    if (length < SUFFIX_SIZE - 1)
        return NULL;
    const char *end = path + length - (SUFFIX_SIZE - 1);
    return strcmp(end, suffix) == 0 ? end : NULL;
}

static char *part_path(const char *first_path, size_t number, size_t count)
{
    char *path = strdup(first_path);
    if (path != NULL)
        part_suffix(path + strlen(path) - (SUFFIX_SIZE - 1), number, count);
    return path;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static error_code refuse_later_part(const gguf *part, size_t number, size_t count, failure *fail)
{
    char first[SUFFIX_SIZE];
    part_suffix(first, 1, count);
    const char *name = base_name(part->path), *suffix = find_suffix(part->path, number, count);
    int stem = suffix != NULL ? (int)(suffix - name) : 0;
    return failure_set(fail, ERR_UNSUPPORTED,
                       "this is part %zu of %zu of a split model; name its first part, %.*s%s",
                       number, count, stem, name, suffix != NULL ? first : "which has split.no 0");
}

/* How many parts the model of `first` has. */
static error_code read_first(const gguf *first, uint64_t *count, failure *fail)
{
    uint64_t number;
    char suffix[SUFFIX_SIZE];
    error_code code = split_key(first, "split.count", 1, MAX_PARTS, count, fail);
    if (code == OK)
        code = split_key(first, "split.no", 0, MAX_PARTS - 1, &number, fail);
    if (code != OK || *count <= 1)
        return code;
    if (number >= *count)
        return failure_set(fail, ERR_FORMAT,
                           "key 'split.no' is %" PRIu64 ", but 'split.count' only %" PRIu64, number,
                           *count);
    if (number > 0)
        return refuse_later_part(first, (size_t)number + 1, (size_t)*count, fail);
    part_suffix(suffix, 1, (size_t)*count);
    if (find_suffix(first->path, 1, (size_t)*count) == NULL)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "this is the first of %" PRIu64 " parts of a split model; its name must "
                           "end in %s, so that the others are found beside it",
                           *count, suffix);
    return OK;
}

/* A part after the first: that it is the one its name says. */
static error_code check_part(const gguf *part, size_t number, size_t count, failure *fail)
{
    uint64_t said_number, said_count;
    error_code code = split_key(part, "split.no", 0, MAX_PARTS - 1, &said_number, fail);
    if (code == OK)
        code = split_key(part, "split.count", 1, MAX_PARTS, &said_count, fail);
    if (code != OK)
        return code;
    if (said_count != count)
        return failure_set(fail, ERR_FORMAT,
                           "key 'split.count' is %" PRIu64 ", in the first part %zu", said_count,
                           count);
    if (said_number + 1 != number)
        return failure_set(fail, ERR_FORMAT,
                           "key 'split.no' is %" PRIu64 "; part %zu of %zu has %zu", said_number,
                           number, count, number - 1);
    return OK;
}

static error_code open_part(gguf *first, size_t number, size_t count, failure *fail)
{
    gguf *part = NULL;
    char *path = part_path(first->path, number, count);
    if (path == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the names of %zu parts", count);
    error_code code = gguf_open_part(&part, path, fail);
    free(path);
    if (code != OK)
        return failure_prefix(fail, "part %zu of %zu", number, count);
    first->others[first->n_others++] = part;
    code = check_part(part, number, count, fail);
    return code == OK ? OK : failure_prefix(fail, "%s", part->path);
}

static error_code open_others(gguf *first, size_t count, failure *fail)
{
    first->others = calloc(count, sizeof *first->others);
    if (first->others == NULL)
        return failure_set(fail, ERR_MEMORY, "%s: no memory for %zu parts", first->path, count);
    error_code code = OK;
    for (size_t number = 2; code == OK && number <= count; number++)
        code = open_part(first, number, count, fail);
    return code;
}

static error_code check_total(const gguf *first, size_t total, failure *fail)
{
    uint64_t said;
    error_code code = split_key(first, "split.tensors.count", total, GGUF_MAX_TENSORS, &said, fail);
    if (code != OK)
        return code;
    if (said != total || total > GGUF_MAX_TENSORS)
        return failure_set(fail, ERR_FORMAT,
                           "its parts hold %zu tensors; key 'split.tensors.count' says %" PRIu64,
                           total, said);
    return OK;
}

static error_code take_tensors(gguf *first, failure *fail)
{
    size_t total = first->n_tensors, at = first->n_tensors;
    for (size_t i = 0; i < first->n_others; i++)
        total += first->others[i]->n_tensors;
    error_code code = check_total(first, total, fail);
    if (code != OK)
        return code;
    gguf_tensor *tensors = reallocarray(first->tensors, total + 1, sizeof *tensors);
    if (tensors != NULL)
        first->tensors = tensors;
    gguf_tensor **sorted = reallocarray(first->tensors_sorted, total + 1, sizeof *sorted);
    if (sorted != NULL)
        first->tensors_sorted = sorted;
    if (tensors == NULL || sorted == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu tensors", total);
    for (size_t i = 0; i < first->n_others; i++) {
        const gguf *part = first->others[i];
        memcpy(tensors + at, part->tensors, part->n_tensors * sizeof *tensors);
        at += part->n_tensors;
    }
    first->n_tensors = total;
    return gguf_index_tensors(first, fail);
}

error_code gguf_join_parts(gguf *file, failure *fail)
{
    uint64_t count = 1;
    error_code code = read_first(file, &count, fail);
    if (code != OK)
        return failure_prefix(fail, "%s", file->path);
    if (count <= 1)
        return OK;
    code = open_others(file, (size_t)count, fail);
    if (code != OK)
        return code; /* which names the part */
    code = take_tensors(file, fail);
    return code == OK ? OK : failure_prefix(fail, "%s", file->path);
}
