/* model_copy.h: a model file's copy that a test may spoil. Include after cmocka.h. */
#ifndef TESTS_MODEL_COPY_H
#define TESTS_MODEL_COPY_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/gguf.h"

typedef struct model_copy {
    char path[64];
    int fd;
    size_t length;
} model_copy;

static inline void copy_model(model_copy *c, const char *path)
{
    char block[1 << 16];
    int from = open(path, O_RDONLY);
    assert_true(from >= 0);
    snprintf(c->path, sizeof c->path, "/tmp/a-io-test-copy-XXXXXX");
    c->fd = mkstemp(c->path);
    assert_true(c->fd >= 0);
    c->length = 0;
    for (ssize_t n; (n = read(from, block, sizeof block)) > 0; c->length += (size_t)n)
        assert_int_equal(write(c->fd, block, (size_t)n), n);
    close(from);
}

static inline void remove_copy(model_copy *c)
{
    close(c->fd);
    unlink(c->path);
}

/* Where a tensor's data begin in the file: the first key's name stands behind magic, version, two
 * counts and its own length. */
static inline off_t tensor_offset(const gguf *file, const gguf_tensor *t)
{
    return (const char *)t->data - (gguf_key_at(file, 0).data - 32);
}

static inline void change_bytes(const model_copy *c, off_t at, const void *bytes, size_t n)
{
    assert_int_equal(pwrite(c->fd, bytes, n, at), n);
}

/* All of an F32 tensor's values. */
static inline void fill_tensor(const model_copy *c, const char *name, float value)
{
    gguf *file;
    assert_int_equal(gguf_open(&file, c->path, NULL), OK);
    const gguf_tensor *t = gguf_tensor_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->type->type, TENSOR_F32);
    for (size_t at = 0; at < t->bytes; at += sizeof value)
        change_bytes(c, tensor_offset(file, t) + (off_t)at, &value, sizeof value);
    gguf_close(file);
}

#endif
