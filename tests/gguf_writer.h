/* gguf_writer.h: builds GGUF files in memory for tests, sound ones and broken ones. */
#ifndef TESTS_GGUF_WRITER_H
#define TESTS_GGUF_WRITER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"

static inline void put_u32(buffer *b, uint32_t value)
{
    buffer_add(b, &value, sizeof value);
}

static inline void put_u64(buffer *b, uint64_t value)
{
    buffer_add(b, &value, sizeof value);
}

static inline void put_string(buffer *b, const char *text)
{
    put_u64(b, strlen(text));
    buffer_add_text(b, text);
}

static inline void put_header(buffer *b, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    buffer_add(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_keys);
}

static inline void put_key(buffer *b, const char *name, uint32_t type)
{
    put_string(b, name);
    put_u32(b, type);
}

static inline void put_key_u32(buffer *b, const char *name, uint32_t value)
{
    put_key(b, name, 4);
    put_u32(b, value);
}

static inline void put_key_text(buffer *b, const char *name, const char *text)
{
    put_key(b, name, 8);
    put_string(b, text);
}

static inline void put_tensor(buffer *b, const char *name, uint32_t n_dims, const uint64_t *dims,
                              uint32_t type, uint64_t offset)
{
    put_string(b, name);
    put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        put_u64(b, dims[i]);
    put_u32(b, type);
    put_u64(b, offset);
}

/* Zero bytes up to the next multiple of `alignment`, then `extra` more. */
static inline void put_zeros(buffer *b, size_t alignment, size_t extra)
{
    size_t n = (alignment - b->length % alignment) % alignment + extra;
    for (size_t i = 0; i < n; i++)
        buffer_add(b, "", 1);
}

/* A file under /tmp that holds exactly these bytes; `path` names it. */
static inline void write_temporary(const void *data, size_t length, char path[64])
{
    strcpy(path, "/tmp/a-io-test-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, data, length) != (ssize_t)length) {
        perror(path);
        exit(1);
    }
    close(fd);
}

#endif
