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

/* Where its bytes are taken as they stand: how many are left; 0: they are not, or it is whole. */
uint64_t http_body_left(const http_body *b);
/* So many of them have been taken. */
void http_body_skip(http_body *b, uint64_t n);
bool http_body_is_whole(const http_body *b);

#endif
