/*
 * server.h: the HTTP door: OpenAI's chat completions, models, decisions and health.
 *
 * Knows HTTP and JSON; knows no tensor. A waiting request holds a connection, no thread: the run's
 * `wake` posts it to its loop. A client that goes away cancels its work at once. What takes
 * long before there is a run (JSON, templates, tokens) is done by workers.
 *
 * Order of calls: server_create (takes the port, so that a busy one is known before the models are
 * loaded), server_start, later server_drain, server_cancel, server_destroy. All of them are called
 * by one thread. The server owns nothing of the orchestra or of what its options point to, which
 * must outlive it.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <stdint.h>

#include "orchestra/orchestra.h"

typedef struct server server;

/* What a request may leave out. */
typedef struct request_defaults {
    size_t max_tokens; /* 0: to the context's end */
    bool has_seed;     /* else one is drawn */
    uint32_t seed;
    request_priority priority;
    double deadline_ms; /* 0: none */
} request_defaults;

typedef struct server_options {
    const char *host;
    uint16_t port;                         /* 0: any free one */
    const char *socket;                    /* path of a Unix socket instead of both; NULL: none */
    bool allow_without_key;                /* else an address that others reach needs a key */
    const char *tls_certificate, *tls_key; /* PEM files; NULL: no TLS */
    const char *api_key;                   /* one key; NULL: none */
    const char *keys_file;                 /* more of them (docs/http.md); NULL: none */
    const char *budget_file;               /* what they have spent; NULL: a restart forgets it */
    bool has_prices;                       /* models cost something: keys may have budgets */
    uint32_t loops; /* threads that wait for sockets, up to HOUSE_MOST_LANES; 0: as suits … */
    uint32_t cores; /* … so many, which this process may use; 0: not known */
    uint32_t max_connections;             /* ≥ 1; one more is answered 503 */
    uint32_t max_connections_per_address; /* 0: half of them, and for this machine all */
    uint32_t max_body_bytes;              /* a larger body is answered 413 */
    /* Without a key: the names that are served besides this machine's own, and the pages. */
    config_texts allowed_hosts, allowed_origins;
    /* Other names of models, or of auto; what any other name means, or NULL. */
    config_texts alias_names, alias_models;
    const char *unknown_model;
    request_defaults defaults;
} server_options;

/* Binds the address; nobody is answered yet. ERR_IO names the
 * address that is taken or not this machine's. */
error_code server_create(server **out, const server_options *options, failure *fail);
error_code server_start(server *s, orchestra *o, failure *fail);
/* The address in the form of a URL, with the real port: http://127.0.0.1:8321; or unix:PATH */
const char *server_url(const server *s);

/* Reads the file of keys again; what was admitted goes on under the old ones. They stay when it
 * fails. */
error_code server_read_keys(server *s, failure *fail);

/* Reads certificate and key again where their files have changed. Connections that there are keep
 * theirs; on an error everybody does. */
error_code server_renew_certificate(server *s, bool *renewed, failure *fail);

/* Takes no new connection and no new request; what runs goes on. */
void server_drain(server *s);
/* After server_drain: readable (poll) once nothing runs any more. */
int server_idle_fd(const server *s);
/* Answers every waiting request with an error, at once. */
void server_cancel(server *s);
/* Cancels what still runs, closes every connection. */
void server_destroy(server *s);

#endif
