/* http_reading.h: a request read as a server reads it, some bytes at a time; for who includes it
 * HOLDS(condition) says what must be true. */
#ifndef TESTS_FUZZ_HTTP_READING_H
#define TESTS_FUZZ_HTTP_READING_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http_body.h"

typedef struct outcome {
    http_progress head, body;
    int status;
    size_t head_length, body_length;
    uint64_t digest; /* of the body's bytes */
} outcome;

/* In memory of exactly its size, so that a sanitizer sees a read behind the end. */
static inline char *http_exact(const char *text, size_t length)
{
    char *exact = malloc(length > 0 ? length : 1);
    HOLDS(exact != NULL);
    memcpy(exact, text, length);
    return exact;
}

static inline void check_head(const http_head *h)
{
    HOLDS(strlen(h->method) > 0 && (h->path[0] == '/' || strcmp(h->path, "*") == 0));
    HOLDS(h->n_headers <= HTTP_MAX_HEADERS);
    HOLDS(h->is_old || h->authority[0] != '\0' || http_head_value(h, "host") != NULL);
    for (size_t i = 0; i < h->n_headers; i++)
        HOLDS(strpbrk(h->headers[i].value, "\r\n") == NULL);
}

static inline void take_body(const http_head *h, const char *text, size_t length, size_t step,
                             outcome *out)
{
    http_body body;
    http_fault fault = {0, NULL};
    http_body_init(&body, h);
    out->body = h->framing == HTTP_NO_BODY ? HTTP_DONE : HTTP_MORE;
    for (size_t at = 0; at < length && out->body == HTTP_MORE;) {
        size_t used, n, most = length - at < step ? length - at : step;
        const char *piece;
        char *exact = http_exact(text + at, most);
        out->body = http_body_take(&body, exact, most, &used, &piece, &n, &fault);
        HOLDS(used <= most && n <= used);
        HOLDS(used > 0 || out->body != HTTP_MORE);
        for (size_t i = 0; i < n; i++)
            out->digest = out->digest * 31 + (unsigned char)piece[i];
        out->body_length += n;
        at += used;
        free(exact);
    }
    if (out->body == HTTP_BAD)
        out->status = fault.status;
}

/* Reads a request that comes `step` bytes at a time. */
static inline outcome read_request(const char *text, size_t length, size_t step)
{
    outcome out = {.head = HTTP_MORE};
    http_fault fault = {0, NULL};
    size_t scanned = 0, end = 0;
    for (size_t have = 0; have < length && out.head == HTTP_MORE;) {
        have += length - have < step ? length - have : step;
        char *exact = http_exact(text, have);
        out.head = http_head_find(exact, have, &scanned, &end, &fault);
        free(exact);
    }
    if (out.head == HTTP_DONE) {
        http_head head;
        char *line = malloc(end + 1); /* one more byte, for the NUL at its end */
        HOLDS(line != NULL);
        memcpy(line, text, end);
        line[end] = '\0';
        out.head_length = end;
        if (http_head_read(&head, line, end, &fault)) {
            check_head(&head);
            take_body(&head, text + end, length - end, step, &out);
        } else {
            out.head = HTTP_BAD;
        }
        free(line);
    }
    if (out.head == HTTP_BAD)
        out.status = fault.status;
    return out;
}

#endif
