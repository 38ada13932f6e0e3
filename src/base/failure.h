/*
 * failure.h: the one vocabulary of results.
 *
 * Every function that can fail returns an error_code (OK is 0) and, when it fails, leaves what went
 * wrong and what to do about it in the caller's `failure`. A failure owns no memory and may be
 * copied. A NULL failure pointer is allowed wherever one is taken: the text is then dropped.
 */
#ifndef BASE_FAILURE_H
#define BASE_FAILURE_H

#include <stdarg.h>
#include <stddef.h>

/* name, text shown to a person, process exit code, HTTP status */
#define ERROR_CODES(X)                                                                             \
    X(OK, "ok", 0, 200)                                                                            \
    X(ERR_INVALID, "invalid request", 2, 400)                                                      \
    X(ERR_CONTEXT, "prompt too long", 2, 400)                                                      \
    X(ERR_NOT_FOUND, "not found", 3, 404)                                                          \
    X(ERR_TOO_LARGE, "too large", 2, 413)                                                          \
    X(ERR_CONFIG, "bad configuration", 4, 500)                                                     \
    X(ERR_FORMAT, "malformed file", 5, 500)                                                        \
    X(ERR_UNSUPPORTED, "not supported", 5, 501)                                                    \
    X(ERR_DENIED, "access refused", 6, 403)                                                        \
    X(ERR_TEMPLATE, "refused by the chat template", 5, 400)                                        \
    X(ERR_IO, "input/output error", 6, 500)                                                        \
    X(ERR_MEMORY, "out of memory", 7, 503)                                                         \
    X(ERR_BUSY, "no capacity left", 7, 429)                                                        \
    X(ERR_CANCELLED, "cancelled", 8, 499)                                                          \
    X(ERR_TIMEOUT, "took too long", 8, 504)                                                        \
    X(ERR_INTERNAL, "internal error", 9, 500)

typedef enum error_code {
#define X(name, text, exit_code, http) name,
    ERROR_CODES(X)
#undef X
} error_code;

typedef struct failure {
    error_code code;
    char text[512];       /* one line, no newline at its end; may be cut, never unterminated */
    double retry_after_s; /* when the same should succeed; 0: nobody knows */
} failure;

/* Records code and text; returns code, so that `return failure_set(...)` reads well. */
error_code failure_set(failure *fail, error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there; returns the failure's code. */
error_code failure_prefix(failure *fail, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Adds to a failure when it is worth trying again. */
void failure_retry_after(failure *fail, double seconds);

/* What a system call's errno says: ERR_NOT_FOUND, ERR_MEMORY, or ERR_IO for all others. */
error_code error_code_of_errno(int error);

const char *error_code_text(error_code code);
int error_code_exit(error_code code);
int error_code_http(error_code code);

#endif
