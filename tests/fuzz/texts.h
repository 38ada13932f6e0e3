/* texts.h: sound texts broken at random, the same ones every time, for what reads texts of others.
 * Each program takes ROUNDS SEED for more of it. Include after cmocka.h. */
#ifndef TESTS_FUZZ_TEXTS_H
#define TESTS_FUZZ_TEXTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uint32_t texts_state = 1;

/* A number below that (xorshift). */
static inline uint32_t draw(uint32_t below)
{
    texts_state ^= texts_state << 13;
    texts_state ^= texts_state >> 17;
    texts_state ^= texts_state << 5;
    return (uint32_t)((uint64_t)texts_state * below >> 32);
}

/* How many rounds: what the command line says, else `standard`. */
static inline long rounds_asked(int argc, char **argv, long standard)
{
    if (argc > 2)
        texts_state = (uint32_t)atol(argv[2]) | 1;
    return argc > 1 ? atol(argv[1]) : standard;
}

/* Writes `piece` over `skip` bytes at a random place, where that fits. Returns the new length. */
static inline size_t put_piece(char *text, size_t length, size_t limit, const char *piece, size_t n,
                               size_t skip)
{
    size_t at = draw((uint32_t)length + 1);
    if (skip > length - at)
        skip = length - at;
    if (length - skip + n > limit)
        return length;
    memmove(text + at + n, text + at + skip, length - at - skip);
    memcpy(text + at, piece, n);
    return length - skip + n;
}

/* One change: a byte, a few bytes less, or one of the pieces. */
static inline size_t break_text(char *text, size_t length, size_t limit, const char *const *pieces,
                                size_t n_pieces)
{
    char byte = (char)(draw(2) == 0 ? draw(256) : '0' + draw(75));
    const char *piece = pieces[draw((uint32_t)n_pieces)];
    switch (draw(4)) {
    case 0:
        return put_piece(text, length, limit, &byte, 1, 1);
    case 1:
        return put_piece(text, length, limit, "", 0, 1 + draw(8));
    case 2:
        return put_piece(text, length, limit, piece, strlen(piece), draw(8));
    default:
        return put_piece(text, length, limit, piece, strlen(piece), strlen(piece));
    }
}

/* Where the JSON value that begins at `at` ends, its lists and objects with it. */
static inline size_t value_end(const char *text, size_t length, size_t at)
{
    int depth = 0;
    bool quoted = false;
    for (; at < length; at++) {
        bool opens = !quoted && strchr("[{", text[at]) != NULL;
        bool closes = !quoted && strchr("]}", text[at]) != NULL;
        if (depth == 0 && (closes || (!quoted && text[at] == ',')))
            break;
        depth += opens - closes;
        quoted = quoted != (text[at] == '"');
    }
    return at;
}

/* In JSON: what stands behind a colon, a bracket or a comma becomes one of the pieces whole, so
 * that the text mostly stays JSON, and says what nobody expects. */
static inline size_t replace_value(char *text, size_t length, size_t limit,
                                   const char *const *pieces, size_t n_pieces)
{
    const char *piece = pieces[draw((uint32_t)n_pieces)];
    size_t n = strlen(piece), at = draw((uint32_t)length);
    while (at < length && strchr(":[,", text[at]) == NULL)
        at++;
    if (at++ >= length)
        return length;
    size_t end = value_end(text, length, at);
    if (length - (end - at) + n > limit)
        return length;
    memmove(text + at + n, text + end, length - end);
    memcpy(text + at, piece, n);
    return length - (end - at) + n;
}

/* In memory of exactly its size, so that a sanitizer sees a read behind the end. */
static inline char *exact_copy(const char *text, size_t length)
{
    char *exact = malloc(length > 0 ? length : 1);
    assert_non_null(exact);
    memcpy(exact, text, length);
    return exact;
}

#endif
