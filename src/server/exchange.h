/*
 * exchange.h: one HTTP request and its answer, from the first header to the last byte. Inside the
 * server room only.
 *
 * An exchange belongs to its loop's thread: that thread makes it, moves it on and frees it. While
 * `is_working`, a worker has its body, its run and its text. Other threads only signal: the
 * conductor that the run has something new, a worker that it is done, the stopping server that it
 * is over. A signal is kept until the loop's thread takes it; no lock is held while run_* is
 * called.
 */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/api.h"
#include "server/budget_file.h"
#include "server/connection.h"
#include "server/keys.h"
#include "server/latest.h"
#include "server/listener.h"
#include "server/loop.h"
#include "server/mailbox.h"
#include "server/metrics.h"
#include "server/openai.h"
#include "server/response_store.h"
#include "server/server.h"
#include "server/tls.h"
#include "server/workers.h"

/*
 * What there is at a path. With and without "/v1" before it, and with a '/' after it, a path is the
 * same. An endpoint either answers on the loop's thread, because that takes no work (`begin`), or
 * has a worker make its answer of the body (`compute`), or lets a model reply (`api`).
 */
typedef struct route {
    const char *method; /* "GET" also answers HEAD */
    const char *path;   /* as it is documented; ends in '/': a prefix, the rest is the argument */
    bool is_open;       /* is answered without the key, and when there is no room */
    bool is_one_part;   /* the argument has no '/': what lies deeper is another path */
    /* The whole body is there; there was a signal. False: not even an error can be told, and the
     * connection is to be closed. */
    bool (*begin)(exchange *e);
    bool (*resume)(exchange *e);
    /* The answer of a body that is a JSON object, new. NULL: the error is set. */
    json_t *(*compute)(exchange *e, json_t *body, api_error *error);
    const api *api; /* how requests are read, and replies and errors are written; NULL: OpenAI's */
} route;

typedef enum signal_bits {
    SIGNAL_NEWS = 1,     /* the run has something to poll */
    SIGNAL_WORKED = 2,   /* a worker is done */
    SIGNAL_STOPPING = 4, /* the server ends; stays */
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
    char success[16]; /* "": not known */
    char lookup[16];
    char reason[HEADER_VALUE_SIZE];
    const char *fallback; /* static, or NULL */
    char overhead_ms[32];
    char cost[32]; /* "": not known */
} plan_headers;

typedef struct embeddings embeddings;

#define CALL_ID_SIZE 40

typedef struct reply_call {
    char id[CALL_ID_SIZE];
    buffer name, arguments;
} reply_call;

/* One reply of those that a request asks for. */
struct choice {
    size_t index;
    run *run; /* NULL: not started yet */
    run_state state;
    buffer echo;  /* the prompt, where it is told before the reply */
    buffer fresh; /* came, and is not parted yet */
    reply_parser *parser;
    bool is_told;         /* to its end */
    score_list scores;    /* came with it, and are not told yet */
    token_list tokens;    /* likewise, where they are told */
    size_t scored_bytes;  /* of tokens whose scores were told */
    bool lacks_memory;    /* some of them are lost */
    bool has_first;       /* the prompt's first token was told */
    buffer text, thought; /* what was told, when it is kept */
    reply_call *calls;
    size_t n_calls;
    reply_end finish; /* when it is told */
    /* Of a stream whose parts are told one after another, as blocks or items. */
    bool is_open; /* one is */
    reply_part open;
    size_t n_opened;
    size_t opened_at; /* where the open part begins in what is kept of it … */
    size_t open_call; /* … or which call it is */
};

struct exchange {
    server *server;
    connection *connection;
    exchange *next, *previous; /* in the server's list; guarded by its lock */

    const route *route;
    const api *api;          /* that the request came by */
    const char *argument;    /* what followed the route's prefix; the head's memory */
    const http_head *head;   /* NULL: it could not be read */
    char methods[64];        /* that are answered at its path, where its own is not */
    char path[128];          /* for the log line */
    const char *cors_origin; /* a page's that may read the answer, or NULL; the head's memory */
    keys *keys;              /* that were in force when it came; NULL: none */
    key_holder *holder;      /* whose limits it counts for; NULL: nobody's */
    char key_name[KEY_NAME_SIZE]; /* for the log line; "": none */
    char id[REQUEST_ID_SIZE];
    double start_ms;
    int status;           /* 0: not answered yet */
    double retry_after_s; /* of an error; 0: unknown */
    bool is_final;        /* an error that is not worth trying again soon */

    buffer body;
    size_t discarded; /* bytes of a body that will not be read */
    bool has_early_error;
    api_error early_error; /* found before the body was whole, told after it */

    pthread_mutex_t lock;
    unsigned signals; /* guarded by the lock */

    work work;
    bool is_working; /* queued, or with a worker */
    bool has_work_error;
    api_error work_error;
    json_t *computed; /* by a worker: the answer's body */

    chat_request *request; /* until every reply has begun */
    choice *choices;       /* their runs are alive until all are finished, or the client is gone */
    size_t n_choices;
    bool has_news; /* a run woke us up since it was polled last */
    bool decide_only;
    bool asks_nothing; /* but that the model be loaded */
    reply_manner manner;
    request_priority priority;
    char reply_id[48];
    int64_t created;
    plan_headers plan;
    reply_stats stats; /* of all replies, for the log line, once finished */

    json_t *told;         /* what of the request its replies tell; or NULL */
    json_t *texts;        /* chat_request's */
    json_t *conversation; /* what a later request may go on with, but for the reply; or NULL */
    json_t *items;        /* of a stream: what was told and is whole; or NULL */
    size_t n_events;
    embeddings *embeddings; /* of a request for them; or NULL */
    buffer out;             /* streaming: events that the connection has not taken */
    buffer frame;           /* an event with a hole; empty: none */
    size_t frame_choice, frame_hole, frame_rest; /* whose, and what stands around the hole */
    double last_event_ms;
    bool stream_ended;
};

struct server {
    char *host;
    server_options options; /* its lists of texts are the configuration's */
    listener listener;      /* its socket is the loops' once they run */
    tls *tls;               /* NULL: plain HTTP */
    orchestra *orchestra;
    metrics *metrics;
    latest *latest;
    workers *workers;
    loops *loops;
    gate gate;
    response_store *responses;
    int64_t created; /* Unix seconds */
    atomic_bool draining;
    atomic_size_t connections;
    atomic_size_t running;    /* runs that are alive */
    atomic_size_t body_bytes; /* of all bodies that are held just now */
    pthread_mutex_t lock;     /* guards the next two */
    exchange *exchanges;      /* a list */
    keys *keys;               /* NULL: none is asked for */
    budget_file *budgets;     /* the first loop's once that runs; NULL: none is kept */
    bool stopping;
    int idle_fd;
};

/* ---- exchange_life.c: from the first header to the end --------------------------------------- */

/* `head` NULL: it could not be read. NULL: no memory. */
exchange *exchange_create(server *s, connection *c, const http_head *head);
void exchange_destroy(exchange *e); /* cancels its run; not while it is working */
/* The request is over: says so in the log and counts it. */
void exchange_log(const exchange *e, bool completed);

/* What the headers alone decide. False: the body is not waited for, the answer is an error. */
bool exchange_headers(exchange *e);
/* Takes a piece of the body, or drops it where the answer is an error. False: enough was dropped,
 * the answer is given now. */
bool exchange_body(exchange *e, const char *data, size_t length);
/* For who receives it to where it is kept: room for so many bytes; NULL: it goes to exchange_body,
 * which says why. And how many of them came. */
char *exchange_body_room(exchange *e, size_t most);
void exchange_body_came(exchange *e, size_t length);
/* The whole request is there; later, there are signals. False: close the connection. */
bool exchange_ready(exchange *e);
bool exchange_resume(exchange *e);

/* ---- exchange.c: signals, work, headers ------------------------------------------------------ */

void exchange_signal(exchange *e, unsigned bits); /* any thread */
/* What was signalled since the last call; STOPPING stays. */
unsigned exchange_take_signals(exchange *e);

/* Gives the work to a worker, who must end it with exchange_signal(e, SIGNAL_WORKED). False: there
 * is no room, and `error` says so. */
bool exchange_give_work(exchange *e, void (*what)(work *w), api_error *error);
exchange *exchange_of(work *w);
/* Reading the request and starting its replies takes less than waking a worker: nothing is rendered
 * or tokenised, and the body is small. */
bool exchange_is_light(const exchange *e);
/* True once no worker has it, or will. */
bool exchange_withdraw_work(exchange *e);

void exchange_drop_body(exchange *e);

/* A header of the request, or NULL. */
const char *exchange_header(void *e, const char *name);
/* Headers of ours, which are as strict as fields; all others are none of our business. */
bool exchange_read_headers(const exchange *e, request_text *out, api_error *error);
/* The model, or auto, that a client's name for it means; NULL is NULL. */
const char *exchange_model(const exchange *e, const char *name);
/* Lower-case hexadecimal digits, an even number, and a NUL. */
void exchange_random_id(char *out, size_t digits);

/* ---- answer.c ------------------------------------------------------------------------------- */

/* Give the answer to the connection; `body` is taken over. False: no memory even for that. */
bool exchange_answer(exchange *e, int status, json_t *body);
/* The whole reply, as its API writes it. */
bool exchange_answer_whole(exchange *e);
/* The same with text, whose contents are taken over. */
bool exchange_answer_text(exchange *e, int status, const char *type, buffer *text);
/* And with header lines of its own, each ended by CR LF. */
bool exchange_answer_with(exchange *e, int status, const char *type, const char *header_lines,
                          buffer *text);
bool exchange_answer_error(exchange *e, const api_error *error);
/* The head of a stream, whose body the connection then takes with stream_next. */
bool exchange_answer_stream(exchange *e);
void exchange_note_plan(exchange *e); /* from RUN_REPLYING on */
void exchange_note_cost(exchange *e); /* once all replies are whole */

/* ---- routes.c, admit.c: what there is, and who may have it ----------------------------------- */

/* What answers this method at this path; else what is there for another method; NULL: nothing. */
const route *route_find(const char *method, const char *path, const char **argument);
bool route_takes(const route *r, const char *method);
/* The methods that are answered at a route's path: "GET, POST". */
void route_methods(const route *at, char *out, size_t size);
/* False: the error is set. */
bool admit(exchange *e, api_error *error);

/* ---- cors.c: what a browser is told ---------------------------------------------------------- */

/* Is the request a page's of server.allowed_origins? Then its browser will be told so. */
bool cors_allows(exchange *e);
/* The browser asks whether it may ask. */
bool cors_is_preflight(exchange *e);
extern const route cors_preflight;

/* ---- compute.c: answers that a worker makes of the body ------------------------------------- */

bool compute_begin(exchange *e);
bool compute_resume(exchange *e);
/* After a signal: true once the work is done well. Else there is nothing to do but to give back
 * *is_well: it is not done, or an error was answered. */
bool exchange_await_work(exchange *e, bool *is_well);

/* ---- reply.c: the replies of a request, from their start to their last piece ----------------- */

/* Makes as many as the request asks for; it is taken over. False: the error is set. */
bool replies_create(exchange *e, chat_request *r, api_error *error);
/* Makes none: whether the model that is named is there. The request is taken over. */
bool replies_have_model(exchange *e, chat_request *r, api_error *error);
/* On a worker's thread: each prompt's first reply is routed, the others follow its plan. False: the
 * error is set. */
bool replies_start(exchange *e, api_error *error);
/* All have their plans. */
bool replies_have_plans(const exchange *e);
/* The failure of one, or NULL. */
const failure *replies_failure(const exchange *e);
/* Tells what came since the last call. False: no memory. */
bool replies_poll(exchange *e);
bool replies_are_told(const exchange *e);
/* Ends what runs; what was told stays. */
void replies_release(exchange *e);
void replies_destroy(exchange *e);
/* Tokens and times of all of them together; a prompt of several replies counts once. */
reply_stats replies_stats(const exchange *e);
/* Whether the request wants to be told with every piece how long it took so far, and that. */
bool replies_tell_timings(const exchange *e, reply_stats *so_far);
/* Into an open object: timings, and a_io, the account of its first reply. */
void replies_write_account(const exchange *e, json_out *o);
/* "stop", "length" or "tool_calls". */
const char *choice_finish_text(const choice *c);

/* ---- openai_chat.c: what OpenAI's replies have in common ------------------------------------- */

/* What each begins with; the object stays open. */
void openai_open_reply(json_out *o, const exchange *e, const char *object);
/* What ends an event of a stream, behind its choices; `finish` NULL: the choice goes on. */
void openai_close_chunk(json_out *o, const exchange *e, const char *finish);
/* The last events of a stream. False: no memory. */
bool openai_end_stream(exchange *e, const char *object);

/* ---- logprobs.c: what is told of scores; each takes those that came -------------------------- */

json_t *logprobs_chat(const exchange *e, choice *c);
json_t *logprobs_text(const exchange *e, choice *c);
/* Of the first `n` of them, which stay; as llama-server tells them. */
json_t *logprobs_native(const exchange *e, const choice *c, size_t n);
/* The backend of the model that answers. */
backend *choice_backend(const exchange *e, const choice *c);

/* ---- completion.c: requests that a model replies to, and decisions --------------------------- */

bool completion_begin(exchange *e);
bool route_begin(exchange *e);
bool completion_resume(exchange *e);

/* ---- prompt.c: what a request's prompt is, for who does not ask for a reply ------------------ */

json_t *prompt_count_anthropic(exchange *e, json_t *body, api_error *error);
json_t *prompt_count(exchange *e, json_t *body, api_error *error);
json_t *prompt_render(exchange *e, json_t *body, api_error *error);
json_t *prompt_tokenize(exchange *e, json_t *body, api_error *error);
json_t *prompt_detokenize(exchange *e, json_t *body, api_error *error);

/* ---- responses.c: responses that are remembered ---------------------------------------------- */

bool response_get(exchange *e);
bool response_delete(exchange *e);

/* ---- ollama.c: what there is to know of the models ------------------------------------------- */

json_t *ollama_error_json(const api_error *error);
bool ollama_tags(exchange *e);
bool ollama_ps(exchange *e);
bool ollama_version(exchange *e);
json_t *ollama_show(exchange *e, json_t *body, api_error *error);

/* ---- models.c: what there is to ask ---------------------------------------------------------- */

/* The large one's index: everything fits to it that fits anywhere. */
size_t models_largest(const server *s);
bool models_list(exchange *e);
bool models_one(exchange *e);
bool models_tokenizer_info(exchange *e);
bool models_props(exchange *e);
bool models_slots(exchange *e);

/* ---- embeddings.c ---------------------------------------------------------------------------- */

bool embeddings_begin(exchange *e);
/* For writers, once all is there: a list of vectors, new (NULL: no memory); whose they are; and how
 * many tokens were read. */
json_t *embeddings_vectors(const exchange *e);
const char *embeddings_model(const exchange *e);
size_t embeddings_tokens(const exchange *e);
bool embeddings_resume(exchange *e);
void embeddings_destroy(embeddings *m); /* ends what runs; NULL too */

/* ---- feedback.c: what an intent really was -------------------------------------------------- */

bool feedback_begin(exchange *e);

/* ---- stream.c: replies as events ---------------------------------------------- */

typedef enum stream_state { STREAM_EVENTS, STREAM_WAITS, STREAM_ENDED, STREAM_BROKEN } stream_state;

bool stream_begin(exchange *e);
/* For writers: "event: NAME" (or NULL), "data: {…}"; the value is taken over. */
bool stream_add_event(exchange *e, const char *name, json_t *value);
/* The same without a name, for who writes a value as text between the two. False: no memory. */
json_out stream_open(exchange *e);
bool stream_close(json_out *o);
/* The value on a line of its own. */
bool stream_add_line(exchange *e, json_t *value);
bool stream_add_text(exchange *e, const char *text);
/* Events of a choice that differ in a text alone: one is written likewise with STREAM_HOLE in its
 * place, and kept as the frame of the others. */
#define STREAM_HOLE "\x01the text\x01"
bool stream_has_frame(const exchange *e, const choice *c);
json_out stream_open_frame(exchange *e);
bool stream_close_frame(exchange *e, const choice *c, json_out *o);
bool stream_add_framed(exchange *e, const char *text, size_t length);
/* EVENTS: there are some in `out`. WAITS: there will be after a signal, or when time has passed. */
stream_state stream_next(exchange *e);

#endif
