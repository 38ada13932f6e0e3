/*
 * backend.h: one interface to own and foreign engines: prepare, submit, classify, embed.
 *
 * A backend serves one model. Requests are messages or a raw prompt: each backend renders and
 * tokenises for its own model, once (backend_prepare); the prompt is then counted, classified,
 * answered, scored or embedded. Results are pulled: `wake` says (from the backend's own thread, so
 * it must only signal) that polling will give something new. Any thread may call; one reply,
 * classification or embedding is polled by one thread at a time.
 *
 * A kind of backend is a table of operations (operations.h). What one cannot do is refused with
 * ERR_UNSUPPORTED. Nothing above this header knows which kind it talks to.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "backend/request.h"
#include "base/buffer.h"
#include "base/failure.h"
#include "config/config.h"

typedef struct wakeup {
    void (*call)(void *context); /* or NULL */
    void *context;
} wakeup;

typedef struct backend backend;
typedef struct reply reply;
typedef struct classification classification;

void backend_destroy(backend *b); /* NULL is allowed */

const char *backend_name(const backend *b);
size_t backend_context(const backend *b); /* tokens */

/* The model in this process; NULL: it is elsewhere. Lives as long as the backend. */
const model *backend_local_model(const backend *b);
/* Whether it takes conversations; else raw prompts only. */
bool backend_has_template(const backend *b);

#define LOAD_STEP_ROWS 64

/* What a backend has to do, and what is measured of it: 0 where that is not known. */
typedef struct backend_load {
    size_t slots;   /* replies that may run at once */
    size_t running; /* have a place */
    size_t waiting; /* for one */
    size_t parked;
    size_t kv_bytes;       /* memory that KV takes now, with that of finished requests */
    size_t kv_limit_bytes; /* for the KV of all models of this process; 0: none */
    double reply_ms;       /* running mean of a reply, from its first step to its end */
    double retry_after_s;  /* when a place should be free for one more in the queue */
    size_t pauses;         /* of its steps, for urgent work */
    uint64_t reply_tokens; /* so far, of replies that still run too */
    uint64_t read_bytes;   /* weights and KV that its steps read so far */
    double switch_ms;      /* the last change to this model */
    double drafting_ms;    /* what a smaller model's guesses took so far */
    double prefill_row_ms; /* of one more prompt row in a step, attention left out */
    double step_ms[LOAD_STEP_ROWS + 1]; /* T(n): of a decode step of n rows */
} backend_load;

void backend_read_load(backend *b, backend_load *out);

/* One of the servers that a model is at. */
typedef struct backend_replica {
    char url[256]; /* cut, where it is longer */
    bool has_lookup;
    const char *state; /* "closed", "open", "half_open": its breaker's */
    size_t in_flight, limit;
    uint64_t requests, refused, failed; /* of all requests: these it refused, these failed */
    uint64_t hedged;                    /* and these it was asked because another was late */
    double delay_ms;                    /* mean to the first byte */
} backend_replica;

/* How many there are; the first `most` are told. 0: the model is in this process. */
size_t backend_read_replicas(backend *b, backend_replica *out, size_t most);

/* The configuration was read again: takes over what can change while it serves, the replicas.
 * Returns soon; replies that run end where they run. */
error_code backend_renew(backend *b, const config_model *m, failure *fail);

/* Lets a smaller model draft for this one's replies (WISH_DRAFT). Before its house is started; they
 * must have one vocabulary. */
error_code backend_set_drafter(backend *b, const backend *small, failure *fail);

/* What cannot fit however it is tokenised, told from its bytes alone: tokenising megabytes takes
 * seconds. ERR_CONTEXT; OK for prompts of a size that is tokenised soon enough. */
error_code backend_check_length(const backend *b, const request *r, failure *fail);

/* ---- prompts ------------------------------------------------------------------------------ */

/* A request's prompt, rendered and tokenised for one backend's model, and its grammar, compiled for
 * it. Read-only once made; lives apart from the request, and from the backend but for its model. */
typedef struct prepared_prompt prepared_prompt;

/* ERR_INVALID for token ids that are not in the vocabulary and for what cannot be read or honoured
 * of the grammar, ERR_UNSUPPORTED for messages where the model has no chat template. */
error_code backend_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail);
size_t prompt_tokens(const prepared_prompt *p); /* how many; a completion's are not among them */
const int32_t *prompt_ids(const prepared_prompt *p); /* the completion's stand behind them */
double prompt_template_ms(const prepared_prompt *p); /* what rendering and tokenising took */
void prompt_destroy(prepared_prompt *p);             /* NULL is allowed */

/* backend_prepare for who only counts. */
error_code backend_count_tokens(backend *b, const request *r, size_t *count, failure *fail);

/* ---- texts and tokens --------------------------------------------------------------------- */

/* `specials`: texts of control tokens become those tokens. */
error_code backend_tokenize(backend *b, const char *text, size_t length, bool specials,
                            token_list *out, failure *fail);
/* Appends those that end a reply. */
error_code backend_end_tokens(const backend *b, token_list *out);
/* The token that begins every text, or -1. */
int32_t backend_first_token(const backend *b);
/* The ids of its tokens are known here. Without, scores have numbers in their place, which only
 * backend_token_text knows. */
bool backend_has_ids(const backend *b);
/* The bytes of one token; they live as long as the backend's model. */
const char *backend_token_text(const backend *b, int32_t id, size_t *length);
/* The text of tokens, those of control tokens included. ERR_INVALID: one is not in the vocabulary.
 */
error_code backend_detokenize(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail);
/* A conversation as its template writes it. */
error_code backend_render(backend *b, const request *r, buffer *out, failure *fail);

/* ---- replies and scores ------------------------------------------------------------------- */

/* `p` is the request's, prepared by this backend. What is needed of both is copied; they may be
 * freed after the call. */
error_code backend_submit(backend *b, const request *r, const prepared_prompt *p,
                          const lookup_wish *lookup, wakeup wake, reply **out, failure *fail);

typedef enum work_state { WORK_RUNNING, WORK_FINISHED, WORK_FAILED } work_state;
typedef enum reply_end { END_STOP, END_LENGTH } reply_end;

/* Of one reply, classification, score or embedding, so far. */
typedef struct reply_stats {
    size_t prompt_tokens;
    size_t cached_tokens; /* of the prompt, whose KV was already there */
    size_t reply_tokens;
    size_t estimated_tokens; /* of these two, those that the model's server has not told (yet) */
    size_t steps;            /* decode steps */
    size_t drafted;
    size_t accepted;
    size_t parked;          /* how often it made room for interactive work */
    size_t refilled_tokens; /* computed again, because their KV had been given up */
    double queue_ms;        /* submit → first step */
    double prefill_ms;      /* first step → first token, or what else the prompt gives */
    double decode_ms;       /* first token → last */
    double switch_ms;       /* what changing to this model took for the first step */
    uint64_t weight_bytes; /* read for this request: a shared step is divided among its sequences */
    uint64_t kv_bytes;
} reply_stats;

typedef struct reply_status {
    work_state state;
    reply_end finish;
    const char *stop; /* the stop string that ended it, or NULL; lives as long as the reply */
    failure failure;
    reply_stats stats;
} reply_status;

/* Appends new text and new token ids (either may be NULL: then that kind is dropped). Text holds
 * whole UTF-8 characters only, and never a stop string or a part of one that may still become
 * whole. */
error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens);
/* What the last poll brought of scores, in the order of positions: of the prompt's scored tokens,
 * then, where they are wanted, of exactly the reply's tokens that came with it (a reply's end token
 * is not among them). Until the next poll. */
const score_list *reply_scores(const reply *r);

/* Of the model that answers, for this reply: how it writes, and how long its prompt is. */
typedef struct reply_style {
    size_t prompt_tokens;
    int32_t first_token; /* of the prompt */
    chat_style chat;     /* form NULL: the prompt was no conversation */
    bool is_in_thought;  /* its prompt ends with the beginning of one */
    bool only_calls;     /* it is calls, or the beginning of one: a grammar allows nothing else */
} reply_style;

reply_style reply_style_of(const reply *r);
void reply_cancel(reply *r);
void reply_release(reply *r); /* cancels if running; wake is not called after it returned */

/* ---- classification (the probe) ------------------------------------------------------------- */

#define PROBE_MAX_LABELS 64

/* Where the probe's question goes. Exactly one of the two placeholders stands in the text:
 *   {conversation}  the conversation exactly as the model would answer it: a suffix template, whose
 *                   prefill is the answer's own prefix
 *   {query}         the last user message's text alone, between the template's own words
 * Only the template's own text may contain special tokens. */
typedef struct probe_template {
    const char *text;
    size_t window_head; /* a longer {…} is cut to its first window_head … */
    size_t window_tail; /* … and last window_tail tokens */
    bool is_alone;      /* nothing that is prefilled is taken from or left to other requests */
} probe_template;

/* The one token of the backend's model that a text is; ERR_CONFIG: it is none, or several. */
error_code backend_find_token(backend *b, const char *text, int32_t *id, failure *fail);

/* Each label's text must be exactly one token of the backend's model, told apart from the others:
 * ERR_CONFIG says which is not, and into how many tokens it falls. Also checks the template. */
error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail);

/* `p` is the request's, prepared by this backend. */
error_code backend_classify(backend *b, const request *r, const prepared_prompt *p,
                            const probe_template *t, const char *const *labels, size_t n_labels,
                            wakeup wake, classification **out, failure *fail);

typedef struct classification_result {
    work_state state;
    failure failure;
    size_t n_labels;
    float logits[PROBE_MAX_LABELS]; /* of the label tokens, as they came */
    float log_sum_exp;              /* over the whole vocabulary */
    size_t prompt_tokens;           /* the request's own, before windowing */
    size_t probe_tokens;            /* what the probe read */
    bool windowed;
    double template_ms; /* rendering and tokenising */
    reply_stats stats;
} classification_result;

error_code classification_poll(classification *c, classification_result *out);
void classification_release(classification *c);

/* ---- embeddings (and the learned probe) ------------------------------------------------------ */

typedef enum embedding_pooling {
    EMBEDDING_LAST, /* the state at the last token */
    EMBEDDING_MEAN, /* the mean over all tokens */
} embedding_pooling;

typedef struct embedding_job embedding_job;

typedef struct embedding_request {
    const uint32_t *layers; /* increasing, from 1 to backend_last_state; copied */
    size_t n_layers;
    embedding_pooling pooling;
    bool is_urgent;            /* a probe's: goes before all replies */
    bool is_alone;             /* nothing is taken from or left to other requests */
    request_priority priority; /* of what is not urgent */
    double deadline_ms;        /* 0: none */
} embedding_request;

size_t backend_state_width(const backend *b);  /* numbers in one layer's state */
uint32_t backend_last_state(const backend *b); /* the state after the output norm */
/* The states of the model's layers at the prompt's tokens. */
error_code backend_embed(backend *b, const prepared_prompt *p, const embedding_request *e,
                         wakeup wake, embedding_job **out, failure *fail);

typedef struct embedding_result {
    work_state state;
    failure failure;
    const float *states; /* n_layers × width once finished; the embedding owns them. NULL before */
    reply_stats stats;
} embedding_result;

error_code embedding_poll(embedding_job *e, embedding_result *out);
void embedding_release(embedding_job *e);

#endif
