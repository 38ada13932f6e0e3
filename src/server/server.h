/*
 * server.h: the HTTP door: OpenAI's chat completions, models, decisions and health.
 *
 * Knows HTTP and JSON; knows no tensor. A waiting request holds a connection, no thread: the run's
 * `wake` posts it to the one loop. A client that goes away cancels its work at once. What takes
 * long before there is a run (JSON, templates, tokens) is done by workers.
 *
 * Order of calls: server_create (takes the port, so that a busy one is known before the models are
 * loaded), server_start, later server_drain, server_cancel, server_destroy. All of them are called
 * by one thread. The server owns nothing of the orchestra or of its options' lists, which must
 * outlive it.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdint.h>

#include "orchestra/orchestra.h"

typedef struct server server;

/* What a request may leave out. */
typedef struct request_defaults {
    size_t max_tokens; /* 0: to the context's end */
    sequence_priority priority;
    double deadline_ms; /* 0: none */
} request_defaults;

typedef struct server_options {
    const char *host;
    uint16_t port;                        /* 0: any free one */
    const char *api_key;                  /* NULL: no key is asked for */
    uint32_t max_connections;             /* ≥ 1; one more is answered 503 */
    uint32_t max_connections_per_address; /* 0: half of them, and for this machine all */
    uint32_t max_body_bytes;              /* a larger body is answered 413 */
    /* Without a key: the names that are served besides this machine's own, and the pages. */
    config_texts allowed_hosts, allowed_origins;
    request_defaults defaults;
} server_options;

/* Binds the address; nobody is answered yet. Host and key are copied. ERR_IO names the
 * address that is taken or not this machine's. */
error_code server_create(server **out, const server_options *options, failure *fail);
error_code server_start(server *s, orchestra *o, failure *fail);
/* The address in the form of a URL, with the real port: http://127.0.0.1:8321 */
const char *server_url(const server *s);

/* Takes no new connection and no new request; what runs goes on. */
void server_drain(server *s);
/* After server_drain: readable (poll) once nothing runs any more. */
int server_idle_fd(const server *s);
/* Answers every waiting request with an error, at once. */
void server_cancel(server *s);
/* Cancels what still runs, closes every connection. */
void server_destroy(server *s);

#endif
