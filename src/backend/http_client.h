/*
 * http_client.h: many HTTP requests at once, driven by the caller's thread (libcurl's multi
 * interface).
 *
 * The client outlives its calls. Nothing happens between two calls of http_client_run; `data` is
 * called from within it. One thread at a time.
 */
#ifndef BACKEND_HTTP_CLIENT_H
#define BACKEND_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/failure.h"

typedef struct http_client http_client;
typedef struct http_call http_call;

error_code http_client_create(http_client **out, failure *fail);
void http_client_destroy(http_client *c); /* NULL too; its calls have been released */

typedef struct http_call_options {
    const char *url;
    const char *json;   /* body of a POST, copied; NULL: a GET */
    const char *bearer; /* the token of an Authorization header; NULL: none */
    double connect_ms;  /* to have a connection; 0: libcurl's default */
    double silence_ms;  /* fails when nothing came for so long, whole seconds; 0: waits for ever */
    size_t limit;       /* bytes of the response's body; more makes it fail */
    void (*data)(void *context, const char *data, size_t length); /* as the body comes; or NULL */
    void *context;
} http_call_options;

error_code http_call_start(http_client *c, const http_call_options *o, http_call **out,
                           failure *fail);
/* Ends the call, whether it is done or not; NULL too. */
void http_call_release(http_call *c);

/* Moves all calls on; waits for news for up to so many milliseconds, with no call under way too.
 */
error_code http_client_run(http_client *c, double wait_ms, failure *fail);

bool http_call_is_done(const http_call *c);
/* 200, 404 …; 0: no head yet. */
int http_call_status(const http_call *c);
/* Of a call that is done. OK: a whole response, whatever its status. The text says no address and
 * no time, so that equal causes have equal texts. */
error_code http_call_result(const http_call *c, failure *fail);

#endif
