/* mutations.h: the same few ten thousand broken versions of a sound GGUF file, each given to a
 * function that tries it: truncations, flipped bits, absurd numbers, many changes at once. */
#ifndef TESTS_FUZZ_MUTATIONS_H
#define TESTS_FUZZ_MUTATIONS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "gguf_writer.h"
#include "model/gguf.h"

typedef struct sample sample;
typedef void try_function(sample *s); /* opens s->path, counts in s->opened or s->refused */

struct sample {
    try_function *try_file;
    char *bytes; /* the sound file */
    size_t length;
    size_t header; /* bytes before the data section */
    int fd;        /* a file in memory that holds a changed copy */
    char path[32];
    size_t opened, refused;
};

static uint64_t random_state;

static inline uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static inline void put(sample *s, size_t at, const void *bytes, size_t length)
{
    if (at < s->length)
        assert_true(
            pwrite(s->fd, bytes, at + length > s->length ? s->length - at : length, (off_t)at) > 0);
}

static inline void restore(sample *s, size_t at, size_t length)
{
    put(s, at, s->bytes + at, length);
}

static inline void truncations(sample *s)
{
    for (size_t length = 0; length < s->length; length += length < s->header ? 1 : 997) {
        assert_int_equal(ftruncate(s->fd, (off_t)length), 0);
        s->try_file(s);
    }
    assert_int_equal(s->opened, 0);
    assert_int_equal(ftruncate(s->fd, (off_t)s->length), 0);
    restore(s, 0, s->length);
    s->try_file(s);
    assert_int_equal(s->opened, 1);
}

static inline void bit_flips(sample *s)
{
    for (size_t at = 0; at < s->header; at++) {
        bool all = s->header < 4096;
        for (unsigned bit = all ? 0 : (unsigned)(at % 8); bit < 8; bit += all ? 1 : 8) {
            char changed = (char)(s->bytes[at] ^ (1 << bit));
            put(s, at, &changed, 1);
            s->try_file(s);
        }
        restore(s, at, 1);
    }
}

/* Counts, lengths, offsets and types that are absurd, at every place where one might stand. */
static inline void absurd_numbers(sample *s)
{
    const uint64_t values[] = {0,          1,
                               2,          9,
                               s->length,  s->length - 1,
                               UINT32_MAX, (uint64_t)INT64_MAX,
                               UINT64_MAX, UINT64_MAX - s->header,
                               1ULL << 61, 1ULL << 32};
    const size_t n_values = sizeof values / sizeof *values;
    bool all = s->header < 4096;
    for (size_t at = 4; at + 8 <= s->header; at++)
        for (size_t v = all ? 0 : at % n_values; v < n_values; v += all ? 1 : n_values) {
            put(s, at, &values[v], 8);
            s->try_file(s);
            restore(s, at, 8);
            put(s, at, &values[v], 4);
            s->try_file(s);
            restore(s, at, 4);
        }
}

static inline void many_changes(sample *s)
{
    random_state = 0x9e3779b97f4a7c15ULL;
    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + next_random() % 6;
        for (size_t i = 0; i < n; i++) {
            uint64_t bytes = next_random();
            put(s, next_random() % s->header, &bytes, 1 + next_random() % 8);
        }
        s->try_file(s);
        restore(s, 0, s->header);
    }
}

static inline void break_in_every_way(sample *s)
{
    s->fd = memfd_create("gguf", 0);
    assert_true(s->fd >= 0);
    snprintf(s->path, sizeof s->path, "/proc/self/fd/%d", s->fd);
    restore(s, 0, s->length);
    truncations(s);
    bit_flips(s);
    absurd_numbers(s);
    many_changes(s);
    restore(s, 0, s->header);
    s->try_file(s);
    printf("%zu opened, %zu refused\n", s->opened, s->refused);
    assert_true(s->opened > 0 && s->refused > 0);
    close(s->fd);
}

/* Reads a golden model into b; its header is all but the tensors' data. */
static inline void read_sample(sample *s, buffer *b, const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buffer_init(b, (size_t)1 << 22);
    assert_int_equal(buffer_read_fd(b, fileno(f), NULL), OK);
    fclose(f);
    gguf *file;
    assert_int_equal(gguf_open(&file, path, NULL), OK);
    size_t data_bytes = 0;
    for (size_t i = 0; i < gguf_tensor_count(file); i++)
        data_bytes += (gguf_tensor_at(file, i)->bytes + 31) / 32 * 32;
    gguf_close(file);
    s->bytes = b->data;
    s->length = b->length;
    s->header = b->length - data_bytes;
}

#endif
