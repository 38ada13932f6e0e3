/*
 * utf8.h: where UTF-8 characters begin and end in bytes that may be anything.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

typedef enum utf8_kind {
    UTF8_WHOLE,   /* one well-formed character */
    UTF8_CUT,     /* well-formed so far, but the bytes end inside the character */
    UTF8_INVALID, /* the maximal subpart of an ill-formed sequence (Unicode 15, table 3-8) */
} utf8_kind;

/* Looks at the beginning of `text` (length > 0): what stands there, and in how many bytes (1 … 4).
 */
utf8_kind utf8_next(const char *text, size_t length, size_t *bytes);

/* The number of leading bytes that are whole well-formed characters. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* Makes any bytes safe to print on one line: control characters and what is not UTF-8 become \xNN;
 * what does not fit in `size` (at least 8, the final NUL included) ends in "...". */
void utf8_printable(const char *text, size_t length, char *out, size_t size);

/* U+FFFD, which stands for an ill-formed sequence. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

#endif
