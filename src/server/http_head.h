/*
 * http_head.h: the head of an HTTP/1.1 request, read strictly (RFC 9110, RFC 9112). Inside the
 * server room only.
 *
 * What two readers could understand differently is refused, never repaired: that is how requests
 * are smuggled past a proxy. So: lines end in CRLF, no line is folded, no space stands before a
 * colon, there is one Host and one Content-Length, no Content-Length beside a Transfer-Encoding,
 * and the one coding is chunked.
 */
#ifndef SERVER_HTTP_HEAD_H
#define SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_LIMIT ((size_t)16 << 10) /* bytes, the empty line included */
#define HTTP_MAX_HEADERS 100

typedef struct http_header {
    const char *name;
    const char *value; /* without the spaces around it */
} http_header;

typedef enum http_framing { HTTP_NO_BODY, HTTP_LENGTH, HTTP_CHUNKED } http_framing;

typedef struct http_head {
    const char *method;
    const char *path; /* decoded, without the query */
    const char
        *authority;   /* host and port that were asked for; "" in an HTTP/1.0 request without */
    bool is_old;      /* HTTP/1.0 */
    bool keeps_alive; /* the client would like to ask again */
    bool expects_continue; /* it waits for a word before it sends the body */
    http_framing framing;
    uint64_t length; /* of an HTTP_LENGTH */
    http_header headers[HTTP_MAX_HEADERS];
    size_t n_headers;
} http_head;

/* What is wrong with a request, as its answer has to say it. */
typedef struct http_fault {
    int status;
    const char *what; /* static */
} http_fault;

typedef enum http_progress { HTTP_MORE, HTTP_DONE, HTTP_BAD } http_progress;

/* Looks for the end of a head in what has come so far. DONE: *end is the number of its bytes. BAD:
 * it has no end within the limit, or a line that ends in LF alone. *scanned is kept by the caller
 * from one call to the next (0 at first), so that no byte is looked at twice. */
http_progress http_head_find(const char *bytes, size_t length, size_t *scanned, size_t *end,
                             http_fault *fault);

/* Reads a whole head in place: `bytes` is changed, and the head points into it. */
bool http_head_read(http_head *out, char *bytes, size_t length, http_fault *fault);

/* The first header of this name (letters of either case), or NULL. */
const char *http_head_value(const http_head *h, const char *name);

#endif
