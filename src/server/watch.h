/*
 * watch.h: notices that a client went away while nobody reads its connection.
 *
 * libmicrohttpd does not look at the descriptor of a suspended connection. A watch is one thread
 * with an epoll of its own that waits for hang-ups only: bytes that a client sends ahead are none
 * of its business. It also ticks, so that a long silent wait can be kept alive.
 */
#ifndef SERVER_WATCH_H
#define SERVER_WATCH_H

#include <stdint.h>

#include "base/failure.h"

typedef struct watch watch;

typedef enum watch_event {
    WATCH_GONE, /* the other side closed its sending half, or the connection broke; told once */
    WATCH_TICK, /* about WATCH_TICK_MS passed since the last tick */
} watch_event;

#define WATCH_TICK_MS 5000

/* Called on the watch's thread, so it must only signal, and must not call watch_*. */
typedef void (*watch_call)(void *context, watch_event event);

error_code watch_create(watch **out, failure *fail);
void watch_destroy(watch *w); /* after everything was removed */

/* The descriptor stays the caller's; it must be removed before it is closed. One entry a
 * descriptor. */
error_code watch_add(watch *w, int fd, watch_call call, void *context, failure *fail);
/* After it returned, the callback is not called. A descriptor that is not watched is no error. */
void watch_remove(watch *w, int fd);

#endif
