/*
 * remote.h: models at other servers, which speak OpenAI's API: what its files share. Inside the
 * room only.
 *
 *   remote_house.c     the threads that talk to the servers, its own or its owner's
 *   remote.c           the operations of a backend
 *   remote_pool.c      which replica has a request, retries, hedges
 *   remote_health.c    whether replicas are well
 *   remote_attempt.c   a request at one of them
 *   remote_replicas.c  a model's replicas: made, changed by a reload, told
 *   remote_lane.c      what one of these threads has
 *   remote_call.c      a request on its way
 *   remote_request.c   a request in JSON
 *   remote_answer.c    from events to text, ends and numbers
 *   remote_scores.c    log-probabilities, and the texts of tokens
 *   remote_probe.c     the probe: one token, its alternatives renormalised
 *
 * A remote_call is one request on its way, held by who asked and by its lane's thread. It waits for
 * a replica, then is an attempt at one (or two, where it is hedged), and after one that failed
 * before its text began waits again. What the thread alone touches needs no lock; what it and who
 * asked touch is under the call's. All lanes share pools and those that wait for a replica of one:
 * these are under the house's lock of pools, which is held for a choice or to note an end, and
 * never while anything is sent or read. Whichever lane finds room chooses for all that wait; what
 * it chose for another lane's call that one sends.
 */
#ifndef BACKEND_REMOTE_H
#define BACKEND_REMOTE_H

#include <pthread.h>
#include <stdatomic.h>

#include <jansson.h>

#include "backend/event_stream.h"
#include "backend/event_text.h"
#include "backend/house.h"
#include "backend/operations.h"
#include "backend/pool.h"
#include "base/http_client.h"

#define REMOTE_TEXT_LIMIT ((size_t)64 << 20)
#define BYTES_A_TOKEN 4 /* of English and of code, roughly: tokens are not known here */

typedef struct remote_house remote_house;
typedef struct remote_lane remote_lane;

typedef struct remote_backend remote_backend;
typedef struct remote_call remote_call;
typedef struct remote_attempt remote_attempt;

/* A replica's health check, the first lane's. */
typedef struct remote_check {
    http_call *http; /* NULL: none is under way */
    double began_ms, due_ms;
} remote_check;

/* Replicas of a model, all of one manner. */
typedef struct remote_pool {
    remote_backend *backend;
    pool *replicas;        /* NULL: there are none */
    remote_check **checks; /* by slot */
    size_t n_checks;
} remote_pool;

/* What a reload says of a model's replicas. */
typedef struct remote_change {
    config_texts urls[2]; /* by manner */
    config_pool setting;
} remote_change;

enum { MANNER_PLAIN, MANNER_LOOKUP, N_MANNERS }; /* without and with speculation */

/* The texts of tokens that a model's servers told of, for any thread. */
typedef struct remote_words {
    pthread_mutex_t lock;
    json_t *numbers; /* by text */
    json_t *texts;   /* by number; none is taken away */
    size_t bytes;
} remote_words;

struct remote_backend {
    backend base;
    struct remote_backend *next; /* of the house's */
    remote_house *house;
    const config_model *config;
    char *key;      /* or NULL */
    json_t *fields; /* more of each request's; or NULL */
    remote_words words;

    /* Under the lock of pools. */
    remote_pool pools[N_MANNERS];
    config_pool setting;
    remote_call *waiting; /* for a replica, who came first first */
    bool has_room;        /* a request has ended at one since those that wait were looked at */
    double hedge_credit;

    remote_change *change; /* under the house's lock: not made yet; or NULL */
    atomic_size_t n_waiting;
    atomic_size_t in_flight;
    atomic_uint_fast64_t reply_tokens;
    _Atomic double reply_ms; /* running mean; 0: none yet */
};

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

/* A call at one replica. All is the thread's, once it has taken it. */
struct remote_attempt {
    remote_attempt *next, *before; /* of the lane's */
    remote_attempt *next_done;
    remote_call *call;
    remote_pool *pool;
    size_t slot, began_with;
    const char *server; /* its URL: the slot's, which stays with a request in flight */
    http_call *http;
    buffer refusal; /* a body that is no stream */
    double began_ms, first_ms,
        last_ms; /* first_ms: of a byte, 0: none came; last_ms: or its begin */
};

#define MOST_ATTEMPTS 2 /* of a call at once */

struct remote_call {
    remote_backend *backend;
    remote_lane *lane;   /* once it is sent */
    remote_probe *probe; /* or NULL: a reply */
    buffer body;         /* what is sent */
    double submitted_ms;
    double end_ms; /* the deadline; 0: none */
    bool is_chat;
    bool is_parted; /* thoughts and calls are wanted, with marks */
    bool wants_lookup;
    bool wants_scores;
    size_t max_tokens;    /* 0: not said */
    size_t prompt_tokens; /* by its bytes */
    pool_prefix prefix;

    /* The thread's; under the lock of pools while it waits. */
    remote_call *next;
    uint32_t retries, hedge_tokens; /* as the pool's setting said when it came */
    pool_place places[N_MANNERS];
    remote_attempt *attempts[MOST_ATTEMPTS];
    remote_attempt *winner; /* the first that something came to; NULL: none yet */
    pool_tried tried[N_MANNERS];
    size_t n_failed;
    double not_before_ms, wait_end_ms; /* while it waits */
    double round_ms;                   /* likewise, unless a replica has room before */
    bool has_waited;                   /* it found none with room once */
    failure last;                      /* why it was not answered yet */
    event_stream events;
    event_frame frame;
    bool is_whole;  /* the answer's end was told */
    bool has_text;  /* some of it has come, or scores */
    bool has_usage; /* how many tokens there are was told */
    size_t n_told;  /* tokens, with their scores */
    failure fault;  /* in the answer itself */
    remote_part part;
    json_int_t call_index;
    bool has_arguments; /* of the call that is being written */

    atomic_bool cancelled;
    atomic_int references;

    pthread_mutex_t lock; /* of the rest */
    buffer text;
    bool was_read; /* some of it was given on, and nothing can be taken back */
    score_list scores;
    reply_status status;
    pthread_mutex_t wake_lock; /* held while wake is called: who asked waits for it */
    wakeup wake;
};

/* What one of the threads that talk to the servers has, with connections of its own. */
struct remote_lane {
    remote_house *house;
    http_client *client;
    const void *_Atomic driver; /* the thread that adopted it, once that has taken a turn */

    /* The thread's. */
    remote_attempt *attempts; /* under way */
    remote_attempt *done;     /* of these, those that have ended by themselves */
    remote_attempt *cursor;   /* of a walk, the next one */
    double look_ms;           /* when time is looked at again */

    remote_attempt *chosen, **chosen_end; /* to be sent; under the lock of pools */
    atomic_bool has_chosen;

    pthread_mutex_t lock;                  /* of the next one */
    remote_call *arrivals, **arrivals_end; /* who came first first */
    atomic_bool looks;                     /* soon: a call was cancelled, or a server is unwell */
};

/* One thread of its own, or those that adopted it. */
struct remote_house {
    backend_house base;
    pthread_t thread;
    bool is_started;
    remote_backend *backends;
    remote_lane *lanes[HOUSE_MOST_LANES]; /* the first looks after replicas: health, reloads */
    size_t n_lanes;

    pthread_mutex_t pools; /* pools, and who waits for a replica */
    pthread_mutex_t lock;  /* of the rest, and of backends' changes */
    bool is_ending;        /* all that is under way ends … */
    bool is_adopted;       /* … or goes on with other threads */
};

extern const backend_operations remote_operations;
extern const chat_form remote_form; /* how calls stand in the text */
extern const chat_thoughts remote_thoughts;

/* ---- remote_request.c ------------------------------------------------------------------------ */

/* The request's body, which the caller frees. `n_top`: likeliest tokens that are to be told with
 * each; 0: none. ERR_UNSUPPORTED names what such a server is not asked for. */
error_code remote_request_write(const remote_backend *b, const request *r, size_t n_top,
                                buffer *out, failure *fail);

/* ---- remote_answer.c, on the thread ---------------------------------------------------------- */

/* Takes one event of an answer, with c->lock held. */
void remote_answer_take(remote_call *c, const char *data, size_t length);

/* ---- remote_scores.c ------------------------------------------------------------------------- */

error_code remote_words_init(remote_words *w); /* to be freed anyway */
void remote_words_free(remote_words *w);
/* On the thread, with c->lock held: a list of {"token", "bytes", "logprob", "top_logprobs"}. */
void remote_scores_take(remote_call *c, const json_t *tokens);
const char *remote_token_text(const backend *b, int32_t number, size_t *length);

/* ---- remote_probe.c -------------------------------------------------------------------------- */

error_code remote_check_labels(backend *b, const probe_template *t, const char *const *labels,
                               size_t n_labels, failure *fail);
error_code remote_classify(backend *b, const request *r, const prepared_prompt *p,
                           const probe_template *t, const char *const *labels, size_t n_labels,
                           wakeup wake, classification **out, failure *fail);
error_code remote_poll_classification(classification *base, classification_result *out);
void remote_release_classification(classification *base);

/* ---- remote_attempt.c, on the thread --------------------------------------------------------- */

/* The call is to go to a replica; its lane then sends it. With the lock of pools, on any lane.
 * NULL: no memory. */
remote_attempt *remote_attempt_make(remote_call *c, remote_pool *p, size_t slot, double now_ms);
/* It is to be ended where this fails, too. */
error_code remote_attempt_send(remote_attempt *a, failure *fail);
/* Something came to the other one of its call first. */
bool remote_attempt_has_lost(const remote_attempt *a, failure *out);
/* What a request that is done, or late, came to; `out` is OK where the whole answer is there. */
pool_end_kind remote_attempt_judge(const remote_attempt *a, failure *out);
/* Its time is up. */
bool remote_attempt_is_late(const remote_attempt *a, double now_ms, failure *out);
double
remote_attempt_end_ms(const remote_attempt *a); /* when that will be, unless something comes */
/* It is no more; the pool is told what it came to. */
void remote_attempt_end(remote_attempt *a, pool_end_kind kind, double now_ms);

/* ---- remote_pool.c, on the thread ------------------------------------------------------------ */

/* A call that came. With the lock of pools. */
void remote_pools_take(remote_backend *b, remote_call *c, double now_ms);
/* An attempt is over by itself: the call is, too, or waits for another. */
void remote_pools_settle(remote_attempt *a, pool_end_kind kind, const failure *why, double now_ms);
/* Likewise: chooses for those that wait, whichever lane's, among the replicas that have room. */
void remote_pools_dispatch(remote_lane *l, remote_backend *b, double now_ms);
/* Sends what was chosen for the lane. */
void remote_pools_send(remote_lane *l, double now_ms);
/* Whatever time has brought to the lane's: cancelled calls, those that are late or at a server that
 * is unwell, hedges. Returns when it should look again. */
double remote_pools_look(remote_lane *l, double now_ms);

/* ---- remote_health.c, on the first lane's thread --------------------------------------------- */

/* Begins and ends checks that are due, with the lock of pools. Returns when it should look again.
 */
double remote_health_look(remote_backend *b, double now_ms);

/* ---- remote_replicas.c ----------------------------------------------------------------------- */

error_code remote_pools_create(remote_backend *b, failure *fail);
void remote_pools_free(remote_backend *b); /* no attempt is left */
/* Makes the replicas those of the change, which it frees. On the first lane's thread, with the lock
 * of pools. */
void remote_pools_change(remote_backend *b, remote_change *change, double now_ms);
remote_change *remote_change_make(const config_remote *r); /* NULL: no memory */
void remote_change_free(remote_change *c);                 /* NULL too */
size_t remote_pools_read(const remote_backend *b, backend_replica *out, size_t most);

/* ---- remote_lane.c --------------------------------------------------------------------------- */

/* Hands a call to the thread of a lane, which holds it until it has ended. */
void remote_house_send(remote_house *h, remote_call *c, size_t lane);
/* What a reload says, which is taken over. */
void remote_house_change(remote_house *h, remote_backend *b, remote_change *change);
void remote_house_lock(remote_house *h); /* of pools */
void remote_house_unlock(remote_house *h);
/* Every lane is to look at what it has soon. */
void remote_house_look(remote_house *h);

error_code remote_lane_create(remote_lane **out, remote_house *h, failure *fail);
void remote_lane_destroy(remote_lane *l); /* nothing is under way */
/* For any thread: a call comes; it is to look soon; there is something chosen for it. */
void remote_lane_send(remote_lane *l, remote_call *c);
void remote_lane_look(remote_lane *l);
/* With the lock of pools, by whichever lane's thread. */
void remote_lane_choose(remote_lane *l, remote_attempt *a, const remote_lane *by);

/* On its thread. */
void remote_lane_drive(remote_lane *l); /* from now on this thread needs no waking */
remote_call *remote_lane_take_arrivals(remote_lane *l);
remote_attempt *remote_lane_take_chosen(remote_lane *l);
/* One after the other; any may be dropped meanwhile. One such walk at a time. */
remote_attempt *remote_lane_first(remote_lane *l);
remote_attempt *remote_lane_next(remote_lane *l);
/* Time is looked at by then. */
void remote_lane_look_by(remote_lane *l, double ms);
void remote_lane_add(remote_lane *l, remote_attempt *a);
void remote_lane_drop(remote_lane *l, remote_attempt *a);
void remote_lane_note_done(remote_lane *l, remote_attempt *a);

/* ---- remote.c -------------------------------------------------------------------------------- */

error_code remote_create(remote_backend **out, remote_house *h, const config_model *m,
                         failure *fail);
void remote_free(remote_backend *b);

/* ---- remote_call.c --------------------------------------------------------------------------- */

/* Tokens of a request's prompt, by its bytes where it is none of tokens. */
size_t remote_prompt_estimate(const request *r);

/* A call that is not sent yet, without a body; NULL: no memory. */
remote_call *remote_call_make(remote_backend *b, const request *r, wakeup wake);
void remote_call_cancel(remote_call *c);
/* Who asked lets go of it: it is cancelled if it runs, and wake is not called any more. */
void remote_call_leave(remote_call *c);
void remote_call_unreference(remote_call *c);
void remote_probe_free(remote_probe *p);  /* NULL too */
void remote_probe_clear(remote_probe *p); /* nothing was told; NULL too */

/* On the thread. */
void remote_call_wake(remote_call *c);
/* It has ended: `why` says how. The thread lets go of it. */
void remote_call_finish(remote_call *c, const failure *why);

#endif
