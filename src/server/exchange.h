/*
 * exchange.h: one HTTP request and its answer, from the first header to the last byte. Inside the
 * server room only.
 *
 * An exchange belongs to libmicrohttpd's thread of its connection: that thread makes it, moves it
 * on and frees it (in the completion callback). Other threads only signal: the conductor that the
 * run has something new, the watch that the client is gone, the stopping server that it is over. A
 * signal wakes the connection if it is suspended and is kept if it is not; no lock is held while
 * run_* is called.
 */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/metrics.h"
#include "server/openai.h"
#include "server/server.h"
#include "server/watch.h"

typedef struct exchange exchange;

typedef struct route {
    const char *method; /* "GET" also answers HEAD */
    const char *path;   /* ends in '/': a prefix, the rest is the argument */
    bool needs_key;
    enum MHD_Result (*begin)(exchange *e);  /* the whole body is there */
    enum MHD_Result (*resume)(exchange *e); /* after a suspension; NULL: never suspends */
} route;

typedef enum signal_bits {
    SIGNAL_NEWS = 1,     /* the run has something to poll */
    SIGNAL_TICK = 2,     /* some seconds went by */
    SIGNAL_GONE = 4,     /* the client went away; stays */
    SIGNAL_STOPPING = 8, /* the server ends; stays */
} signal_bits;

#define REQUEST_ID_SIZE 129
#define HEADER_VALUE_SIZE 192

/* The decision as response headers and log line tell it; copied, because it outlives the run. */
typedef struct plan_headers {
    bool known;
    bool has_intent;
    char model[HEADER_VALUE_SIZE];
    char intent[HEADER_VALUE_SIZE];
    char entropy[32];
    char lookup[16];
    char reason[HEADER_VALUE_SIZE];
    const char *fallback; /* static, or NULL */
    char overhead_ms[32];
} plan_headers;

struct exchange {
    server *server;
    struct MHD_Connection *connection;
    exchange *next, *previous; /* in the server's list; guarded by its lock */

    const route *route;
    const char *argument; /* what followed the route's prefix; MHD's memory */
    const char *method;
    char path[128]; /* for the log line */
    char id[REQUEST_ID_SIZE];
    double start_ms;
    int status;           /* 0: not answered yet */
    double retry_after_s; /* of an error; 0: unknown */

    buffer body;
    size_t discarded; /* bytes of a body that will not be read */
    bool has_early_error;
    api_error early_error; /* found in the headers, told after the body */

    int fd;               /* the client's socket, watched; -1: not */
    pthread_mutex_t lock; /* guards the three below */
    unsigned signals;
    bool suspended;
    bool receiving; /* the body is not yet complete */

    run *run; /* alive until finished, failed or the client is gone */
    run_state state;
    bool decide_only;
    bool stream;
    bool include_usage;
    int64_t seed;
    char user[REQUEST_USER_SIZE];
    sequence_priority priority;
    const char *service_tier; /* static, or NULL */
    char completion_id[48];
    int64_t created;
    plan_headers plan;
    sequence_stats stats; /* the reply's, for the log line, once finished */

    buffer text; /* of the reply: all of it, or what is not yet sent */
    buffer out;  /* streaming: events not yet given to MHD, from `out_sent` on */
    size_t out_sent;
    double last_event_ms;
    bool stream_ended;
};

struct server {
    char *host;
    char *api_key;
    server_options options;
    char url[128];
    int listen_fd; /* -1 once it was given away or closed */
    orchestra *orchestra;
    metrics *metrics;
    struct MHD_Daemon *daemon;
    watch *watch;
    int64_t created; /* Unix seconds */
    atomic_bool draining;
    atomic_size_t connections;
    atomic_size_t running;    /* runs that are alive */
    atomic_size_t body_bytes; /* of all bodies that are held just now */
    pthread_mutex_t lock;     /* guards the list */
    exchange *exchanges;
    bool stopping;
    int idle_fd;
};

/* ---- exchange.c: life, signals, answers ----------------------------------------------------- */

exchange *exchange_create(server *s, struct MHD_Connection *connection, const char *path);
void exchange_destroy(exchange *e); /* cancels its run */
/* The request is over: says so in the log and counts it. */
void exchange_log(const exchange *e, bool completed);

void exchange_signal(exchange *e, unsigned bits); /* any thread */
/* What was signalled since the last call; GONE and STOPPING stay. */
unsigned exchange_take_signals(exchange *e);
/* False when a signal is waiting: take it first. */
bool exchange_suspend(exchange *e);

void exchange_received(exchange *e); /* the whole request is there */

/* Takes a piece of the body. ERR_TOO_LARGE: more than one body may have; ERR_BUSY: more than all
 * bodies together may have just now. */
error_code exchange_add_body(exchange *e, const char *data, size_t length);
void exchange_drop_body(exchange *e);

/* Starts or ends work: the count of runs goes with it. */
void exchange_wake(void *context); /* a run's wake */
void exchange_attach(exchange *e, run *r);
void exchange_release_run(exchange *e);

/* A header of the request, or NULL. */
const char *exchange_header(void *e, const char *name);

/* Queues the answer; `body` is taken over. */
enum MHD_Result exchange_answer(exchange *e, int status, json_t *body);
/* The same with text, whose contents are taken over. */
enum MHD_Result exchange_answer_text(exchange *e, int status, const char *type, buffer *text);
enum MHD_Result exchange_answer_error(exchange *e, const api_error *error);
/* Queues a response that was made elsewhere (a stream), with the headers of every answer. */
enum MHD_Result exchange_queue(exchange *e, int status, struct MHD_Response *response);
void exchange_note_plan(exchange *e); /* from RUN_REPLYING on */

/* ---- completion.c: chat completions and decisions ------------------------------------------- */

enum MHD_Result completion_begin(exchange *e);
enum MHD_Result route_begin(exchange *e);
enum MHD_Result completion_resume(exchange *e);

/* ---- feedback.c: what an intent really was -------------------------------------------------- */

enum MHD_Result feedback_begin(exchange *e);

/* ---- stream.c: the reply as server-sent events ---------------------------------------------- */

enum MHD_Result stream_begin(exchange *e);

#endif
