/*
 * buffer.h: growable arrays that know their limit.
 *
 * A buffer is created with the most it may ever hold, because what fills it comes from outside. The
 * caller owns the struct (`buffer b; buffer_init(&b, limit)`); buffer_free gives back the memory.
 * Not locked: one thread at a time.
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include "base/failure.h"

typedef struct buffer {
    char *data; /* always NUL-terminated once something was added; NULL before */
    size_t length;
    size_t capacity;
    size_t limit;
} buffer;

void buffer_init(buffer *b, size_t limit);
void buffer_free(buffer *b);
void buffer_clear(buffer *b); /* length 0, memory kept */

/* ERR_TOO_LARGE past the limit, ERR_MEMORY when the system has none; the buffer is then unchanged.
 */
error_code buffer_add(buffer *b, const void *data, size_t length);
error_code buffer_add_text(buffer *b, const char *text);
error_code buffer_add_format(buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Makes room for `extra` more bytes without changing length. */
error_code buffer_reserve(buffer *b, size_t extra);
/* Reads the whole file (or standard input when fd is 0) to its end. */
error_code buffer_read_fd(buffer *b, int fd, failure *fail);

error_code buffer_read_file(buffer *b, const char *path, failure *fail);

/* A list of token ids. Unlimited: what fills it was bounded before (text, context). */
typedef struct token_list {
    int32_t *ids;
    size_t length;
    size_t capacity;
} token_list;

/* Makes room for `extra` more ids: additions up to there cannot fail. */
error_code token_list_reserve(token_list *list, size_t extra);
error_code token_list_add(token_list *list, int32_t id);
error_code token_list_append(token_list *list, const int32_t *ids, size_t n);
/* Takes the first n away, which must be there. */
void token_list_drop(token_list *list, size_t n);
void token_list_free(token_list *list); /* leaves an empty, usable list; start from {0} */

#endif
