/*
 * http_body.h: where the body of a request ends, and the bytes of it: of a length, or in chunks
 * (RFC 9112, 7.1; extensions and trailers are passed over). Inside the server room only.
 */
#ifndef SERVER_HTTP_BODY_H
#define SERVER_HTTP_BODY_H

#include "server/http_head.h"

typedef struct http_body {
    int place;       /* within a chunked body */
    uint64_t left;   /* bytes of the body, or of the chunk */
    unsigned digits; /* of a chunk's size */
    size_t passed;   /* bytes of extensions and trailers */
} http_body;

void http_body_init(http_body *b, const http_head *h);

/* Takes what it can use of `bytes` (*used of them) and says which part of that is the body's own:
 * *piece with *n bytes, which may be none. MORE: call again with what follows. BAD: *fault. */
http_progress http_body_take(http_body *b, const char *bytes, size_t length, size_t *used,
                             const char **piece, size_t *n, http_fault *fault);

#endif
