/*
 * remote.h: models at other servers, which speak OpenAI's API: what its files share. Inside the
 * room only.
 *
 *   remote_house.c    the thread that talks to the servers
 *   remote.c          the operations of a backend
 *   remote_request.c  a request in JSON
 *   remote_answer.c   from events to text, ends and numbers
 *   remote_probe.c    the probe: one token, its alternatives renormalised
 *
 * A remote_call is one request on its way, held by who asked and by the thread. What the thread
 * alone touches needs no lock; what both touch is under the call's.
 */
#ifndef BACKEND_REMOTE_H
#define BACKEND_REMOTE_H

#include <pthread.h>
#include <stdatomic.h>

#include <jansson.h>

#include "backend/event_stream.h"
#include "backend/house.h"
#include "backend/operations.h"
#include "base/http_client.h"

#define REMOTE_TEXT_LIMIT ((size_t)64 << 20)
#define REFUSAL_BYTES                                                                              \
    ((size_t)64 << 10) /* of a response that is no stream; the rest is not read                    \
                        */

typedef struct remote_house remote_house;

typedef struct remote_backend {
    backend base;
    struct remote_backend *next; /* of the house's */
    remote_house *house;
    const config_model *config;
    char *key;      /* or NULL */
    json_t *fields; /* more of each request's; or NULL */
    atomic_size_t in_flight;
    atomic_uint_fast64_t reply_tokens;
    _Atomic double reply_ms; /* running mean; 0: none yet */
} remote_backend;

/* Which part of the text is being written. */
typedef enum remote_part { REMOTE_TEXT, REMOTE_THOUGHT, REMOTE_CALL } remote_part;

#define REMOTE_TOP 20 /* likeliest tokens that OpenAI's API tells at most */

/* What is asked of the first token alone. */
typedef struct remote_probe {
    size_t n_labels;
    char *labels[REMOTE_TOP];
    float logprobs[REMOTE_TOP]; /* -INFINITY: not among those that were told */
    bool is_told;
    bool windowed;
} remote_probe;

typedef struct remote_call {
    remote_backend *backend;
    remote_probe *probe; /* or NULL: a reply */
    char *url, *body;    /* what is sent */
    double submitted_ms;
    double end_ms; /* the deadline; 0: none */
    bool is_chat;
    bool is_parted; /* thoughts and calls are wanted, with marks */

    /* The thread's. */
    struct remote_call *next;
    http_call *http; /* NULL: not started */
    event_stream events;
    buffer refusal; /* a body that is no stream */
    double last_ms; /* when something came, or it was started */
    bool has_begun; /* something came */
    bool is_whole;  /* the answer's end was told */
    failure fault;  /* in the answer itself */
    remote_part part;
    json_int_t call_index;
    bool has_arguments; /* of the call that is being written */

    atomic_bool cancelled;
    atomic_int references;

    pthread_mutex_t lock; /* of the rest */
    buffer text;
    reply_status status;
    pthread_mutex_t wake_lock; /* held while wake is called: who asked waits for it */
    wakeup wake;
} remote_call;

extern const backend_operations remote_operations;
extern const chat_form remote_form; /* how calls stand in the text */
extern const chat_thoughts remote_thoughts;

/* ---- remote_request.c ------------------------------------------------------------------------ */

/* The request's body, which the caller frees. `n_top`: likeliest tokens that are to be told with
 * each; 0: none. ERR_UNSUPPORTED names what such a server is not asked
 * for. */
error_code remote_request_write(const remote_backend *b, const request *r, size_t n_top, char **out,
                                failure *fail);

/* ---- remote_answer.c, on the thread ---------------------------------------------------------- */

/* Takes one event of an answer, with c->lock held. */
void remote_answer_take(remote_call *c, const char *data, size_t length);

/* ---- remote_probe.c -------------------------------------------------------------------------- */

error_code remote_check_labels(backend *b, const probe_template *t, const char *const *labels,
                               size_t n_labels, failure *fail);
error_code remote_classify(backend *b, const request *r, const prepared_prompt *p,
                           const probe_template *t, const char *const *labels, size_t n_labels,
                           wakeup wake, classification **out, failure *fail);
error_code remote_poll_classification(classification *c, classification_result *out);
void remote_release_classification(classification *c);
/* Takes the likeliest tokens in place of the first one: a list of {"token", "logprob"}. */
void remote_probe_take(remote_probe *p, const json_t *top);
void remote_probe_free(remote_probe *p); /* NULL too */

/* ---- remote_house.c -------------------------------------------------------------------------- */

/* Hands a call to the thread, which holds it until it has ended. */
void remote_house_send(remote_house *h, remote_call *c);
void remote_house_wake(remote_house *h);
void remote_call_unreference(remote_call *c);

/* ---- remote.c -------------------------------------------------------------------------------- */

error_code remote_create(remote_backend **out, remote_house *h, const config_model *m,
                         failure *fail);
void remote_free(remote_backend *b);
/* A call that is not sent yet, without a body; NULL: no memory. */
remote_call *remote_call_make(remote_backend *b, const request *r, wakeup wake);
/* Who asked lets go of it: it is cancelled if it runs, and wake is not called any more. */
void remote_call_leave(remote_call *c);

#endif
