/*
 * http_client.h: many HTTP requests at once, driven by the caller's thread (libcurl's multi
 * interface).
 *
 * The client outlives its calls. Nothing happens between two calls of http_client_run; `data` is
 * called from within it. One thread at a time.
 */
#ifndef BASE_HTTP_CLIENT_H
#define BASE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/failure.h"

typedef struct http_client http_client;
typedef struct http_call http_call;

error_code http_client_create(http_client **out, failure *fail);
void http_client_destroy(http_client *c); /* NULL too; its calls have been released */

typedef struct http_call_options {
    const char *url;
    const char *json;   /* body of a POST; NULL: a GET */
    size_t json_length; /* 0: it ends with a NUL */
    bool keeps_json;    /* it stays until the release: no copy is made */
    bool is_head;       /* a HEAD: the response's headers alone */
    uint64_t from;     /* asks for the body from this byte on; a server may send all of it anyway */
    const char *agent; /* User-Agent; NULL: none */
    const char *bearer;  /* the token of an Authorization header; NULL: none */
    const char *ca_file; /* certificates of who may vouch for the server; NULL: the system's */
    double connect_ms;   /* to have a connection; 0: libcurl's default */
    double silence_ms;   /* fails when nothing came for so long, whole seconds; 0: waits for ever */
    size_t limit;        /* bytes of the response's body; more makes it fail */
    /* As the body comes, or NULL; false ends the call with ERR_CANCELLED. */
    bool (*data)(void *context, const char *data, size_t length);
    /* When the call is done, or NULL. It must not be released before this has returned. */
    void (*done)(void *context);
    void *context; /* of both */
} http_call_options;

error_code http_call_start(http_client *c, const http_call_options *o, http_call **out,
                           failure *fail);
/* Ends the call, whether it is done or not; NULL too. */
void http_call_release(http_call *c);

/* Moves all calls on; waits for news for up to so many milliseconds, with no call under way too.
 */
error_code http_client_run(http_client *c, double wait_ms, failure *fail);

/* For who waits for other descriptors, too: from now on the client's are in that epoll, their data
 * odd numbers. What comes of them goes to http_client_note before the next http_client_step. */
error_code http_client_move(http_client *c, int epoll, failure *fail);
void http_client_note(http_client *c, const struct epoll_event *event);
/* After how many milliseconds there is something to do without news; INFINITY: never. */
double http_client_wait_ms(const http_client *c);
/* Instead of http_client_run: does what is to be done by now and takes the news of one connection,
 * so that it can be passed on before the next one's. True: there is news of others. */
bool http_client_step(http_client *c, failure *fail);

/* Ends the wait of http_client_run, now or the next one. The only function for any thread. */
void http_client_wake(http_client *c);

bool http_call_is_done(const http_call *c);
/* False: nobody was there, by that name, with a valid certificate. */
bool http_call_has_connected(const http_call *c);
/* 200, 404 …; 0: no head yet. */
int http_call_status(const http_call *c);
/* A header of the response, the last one of this name; NULL: it has none. Lives until the release.
 */
const char *http_call_header(const http_call *c, const char *name);
/* Where a redirect leads, absolute; NULL: it is none. Redirects are not followed: who does decides
 * what the other place may know. Lives until the release. */
const char *http_call_redirect(const http_call *c);
double http_call_retry_after_s(const http_call *c); /* what Retry-After says; 0: nothing */
/* Of a call that is done. OK: a whole response, whatever its status. The text says no address and
 * no time, so that equal causes have equal texts. */
error_code http_call_result(const http_call *c, failure *fail);

/* ---- addresses ---------------------------------------------------------------------------- */

/* True when both have the same scheme, host and port: what one may know the other may. */
bool http_same_origin(const char *url, const char *other);
/* `text` as a part of an address, everything but letters, digits and -._~ escaped; `keep_slashes`:
 * and /. The caller frees it; NULL: no memory. */
char *http_escape(const char *text, bool keep_slashes);

#endif
