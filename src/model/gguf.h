/*
 * gguf.h: reading GGUF files (versions 2 and 3), every byte of which is untrusted.
 *
 * gguf_open maps the file and checks all of it that it will ever use: a gguf that was opened can be
 * read without further checks. Strings and tensor data point into the mapping and live until
 * gguf_close, tensor data until gguf_release_data. Read-only after opening: any thread may use it.
 *
 * A split model (NAME-00001-of-0000N.gguf and so on) is opened by its first part's path: the others
 * are found beside it. Keys are the first part's, tensors those of all parts.
 */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "kernel/kernel.h"

typedef struct gguf gguf;

typedef struct gguf_string {
    const char *data; /* not NUL-terminated */
    size_t length;
} gguf_string;

typedef struct gguf_tensor {
    gguf_string name;
    uint32_t n_dims;
    uint64_t dims[4]; /* dims[0] is the contiguous one; unused ones are 1 */
    const tensor_type_info *type;
    const void *data; /* inside the mapping, aligned to general.alignment */
    size_t bytes;
} gguf_tensor;

/* ERR_NOT_FOUND when the file or a part of it is not there, ERR_IO when it cannot be read,
 * ERR_FORMAT with what is wrong and at which byte, ERR_UNSUPPORTED for a tensor type or version
 * this program does not know and for a part that is not the first. */
error_code gguf_open(gguf **out, const char *path, failure *fail);
void gguf_close(gguf *file);

const char *gguf_path(const gguf *file);
uint32_t gguf_version(const gguf *file);
size_t gguf_part_count(const gguf *file); /* 1: one file holds the model */
const char *gguf_part_path(const gguf *file, size_t index);
uint64_t gguf_file_bytes(const gguf *file); /* of all parts */

/* Keys. Each getter returns true and sets *out when the key is there with a fitting type (integers
 * of any width and sign that fit are accepted for u64), false when it is absent or of another type.
 */
bool gguf_has(const gguf *file, const char *key);
bool gguf_u64(const gguf *file, const char *key, uint64_t *out);
bool gguf_f64(const gguf *file, const char *key, double *out);
bool gguf_bool(const gguf *file, const char *key, bool *out);
bool gguf_text(const gguf *file, const char *key, gguf_string *out);
/* Arrays of strings, in file order: *items lives until gguf_close. False when absent or of another
 * type. */
bool gguf_text_array(const gguf *file, const char *key, const gguf_string **items, size_t *count);
/* Copies an array of numbers, converted; *out is malloc'ed and the caller's. Of truths i32 makes 0
 * and 1. */
error_code gguf_f32_array(const gguf *file, const char *key, float **out, size_t *count,
                          failure *fail);
error_code gguf_i32_array(const gguf *file, const char *key, int32_t **out, size_t *count,
                          failure *fail);

/* All keys in file order, for `inspect`: name and a short printable rendering of the value. */
size_t gguf_key_count(const gguf *file);
gguf_string gguf_key_at(const gguf *file, size_t index);
void gguf_key_render(const gguf *file, size_t index, char *text, size_t size);

size_t gguf_tensor_count(const gguf *file);
const gguf_tensor *gguf_tensor_at(const gguf *file, size_t index);
const gguf_tensor *gguf_tensor_find(const gguf *file, const char *name); /* NULL when absent */

/* Copies `bytes` of a tensor's data, those at `from`, without mapping the file's pages: two copies
 * of weights are never resident. ERR_IO when the file has become shorter or cannot be read. */
error_code gguf_fetch(const gguf *file, const void *from, void *into, size_t bytes, failure *fail);

/* Drops the file's pages from memory once tensors' data was looked at; later looks page them in
 * again. */
void gguf_drop_pages(const gguf *file);

/* Lets go of the file: keys and descriptions of tensors stay, as copies; tensor->data is NULL from
 * now on. Whatever happens to the file later changes nothing and harms nobody. ERR_IO when the file
 * was written to since it was opened: what was read of it until now may be neither the old file nor
 * the new one. Before other threads use it. */
error_code gguf_release_data(gguf *file, failure *fail);

#endif
