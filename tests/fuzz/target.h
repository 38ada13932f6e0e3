/* target.h: what the libFuzzer targets (fuzz_*.c) share. `make fuzz-NAME` builds and runs one. */
#ifndef TESTS_FUZZ_TARGET_H
#define TESTS_FUZZ_TARGET_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/failure.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What holds whatever the input was: a fault of ours, which libFuzzer keeps the input of. */
#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A refusal has words, and they are the code's. */
static inline void check_refusal(error_code code, const failure *fail)
{
    HOLDS(code == OK || (code == fail->code && fail->text[0] != '\0'));
}

/* The path of a file in memory that holds the bytes, and zeros up to `whole` bytes: the same one
 * every time. */
static inline const char *file_of_more(const void *bytes, size_t length, size_t whole)
{
    static char path[32];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("input", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    HOLDS(fd >= 0 && ftruncate(fd, 0) == 0);
    HOLDS(pwrite(fd, bytes, length, 0) == (ssize_t)length);
    HOLDS(ftruncate(fd, (off_t)whole) == 0);
    return path;
}

static inline const char *file_of(const void *bytes, size_t length)
{
    return file_of_more(bytes, length, length);
}

/* The bytes of a piece that a reader of streams is given at once: what a byte of the input says, up
 * to `most`, but so that there are not more than 32 pieces. */
static inline size_t piece_of(uint8_t byte, size_t most, size_t size)
{
    size_t piece = 1 + byte % most, least = size / 32 + 1;
    return piece > least ? piece : least;
}

/* A copy that ends with a NUL, for free(). */
static inline char *text_of(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    HOLDS(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

#endif
