/*
 * engine.h: sequences of tokens through resident models.
 *
 * One conductor owns the team of threads and every engine; an engine is one model with its KV
 * slots. The conductor's own thread runs the step loop: each step takes one engine and composes a
 * batch of rows (decoding sequences with their drafts, classifications, pieces of waiting prompts).
 * While any reply streams, a step's prompt rows are limited so that it keeps its pace; and urgent
 * work (classifications, a probe's embedding) need not wait for a step's end: the step pauses for
 * it.
 *
 * A sequence is one request inside an engine. Its owner submits it, is woken (on the conductor's
 * thread: the callback must only signal) when there is something to read, polls, and releases it.
 * All functions may be called from any thread; one sequence is polled by one thread at a time.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/failure.h"
#include "base/priority.h"
#include "engine/sample.h"
#include "engine/score.h"
#include "model/grammar.h"

typedef struct conductor conductor;
typedef struct engine engine;
typedef struct sequence sequence;

#define LOOKUP_MAX_DRAFT 16
#define ENGINE_KNOWN_PREFILL 128
#define ENGINE_STEP_ROWS 64 /* decode steps are known by their rows up to so many */

typedef struct engine_options {
    size_t context; /* tokens a sequence may hold; 0: what the model was trained for */
    size_t slots;   /* replies that may run at once; ≥ 1 */
    size_t parked;  /* batch replies that may be parked besides, with their KV; 0: as many as slots.
                       Slots and parked take addresses: memory is taken by the tokens in them */
    size_t queue_limit;    /* sequences waiting before ERR_BUSY */
    size_t prefill_chunk;  /* most prompt rows a step takes; ≥ 1 */
    double step_budget_ms; /* prompts may lengthen the steps between two tokens of a reply by so
                              much (beside slow steps by up to four times that: pace_mixed_ms),
                              those of all engines together; > 0 */
    double ageing_ms;      /* a batch sequence that waited so long counts as interactive */
    bool yields;           /* steps pause for urgent work */
    bool prefix_cache;     /* a prompt takes the KV that an earlier one left of its prefix */
    kv_type kv;
    /* What steps cost, where it is known already; step_ms[1] 0: conductor_start measures. */
    double step_ms[ENGINE_STEP_ROWS + 1]; /* T(n); 0: unknown */
    double prefill_row_ms;                /* a row's part of a prefill … */
    size_t prefill_rows;                  /* … of so many tokens; 0: ENGINE_KNOWN_PREFILL */
    bool fixed_step_cost; /* T(n) stays step_ms: drafts follow from the tokens alone */
} engine_options;

engine_options engine_defaults(void);

error_code conductor_create(conductor **out, int n_threads, failure *fail);
/* Adds an engine for a model that must outlive the conductor. Before conductor_start only. */
error_code conductor_add(conductor *c, const model *m, const engine_options *options, engine **out,
                         failure *fail);
/* Lets a smaller model draft for the engine's replies (LOOKUP_DRAFT): it must have the same
 * vocabulary, and outlive the conductor. After conductor_add, before conductor_start only. */
error_code engine_set_draft_model(engine *e, const model *small, failure *fail);
/* What the weights and the KV of all engines may take together; 0: no limit. Before conductor_start
 * only, which fails when the weights leave no room. */
void conductor_limit_memory(conductor *c, size_t bytes);
/* Measures what steps cost (less than half a second an engine) where the options do not say it,
 * then starts the loop. */
error_code conductor_start(conductor *c, failure *fail);
/* Cancels what runs, joins the thread, frees the engines. Sequences must have been released. */
void conductor_destroy(conductor *c);

/* What conductor_start measured. step_ms[1] 0: the options knew it, or there was no time. */
typedef struct engine_costs {
    double step_ms[ENGINE_STEP_ROWS + 1]; /* T(n); 0: not measured */
    double prefill_row_ms;
    size_t prefill_rows;
} engine_costs;

const engine_costs *engine_measured(const engine *e); /* after conductor_start; it stays so */

const model *engine_model(const engine *e);
size_t engine_context(const engine *e);

/* ---- lookup ------------------------------------------------------------------------------- */

/* LOOKUP_DRAFT: not from the history: the engine's draft model guesses. */
typedef enum lookup_mode { LOOKUP_OFF, LOOKUP_AUTO, LOOKUP_FIXED, LOOKUP_DRAFT } lookup_mode;

#define LOOKUP_CLASSES 16

typedef struct lookup_setting {
    lookup_mode mode;
    uint32_t length; /* LOOKUP_FIXED: tokens drafted a step, 1 … LOOKUP_MAX_DRAFT */
    uint32_t prior;  /* LOOKUP_AUTO: which acceptance estimate to start from (the intent's index) */
} lookup_setting;

/* ---- sequences ---------------------------------------------------------------------------- */

/* Sequences of batch requests are parked for interactive ones: they keep their KV and go on when a
 * place is free. When memory runs out the newest gives up its KV and is prefilled again. */

/* What a sequence is for. */
typedef enum sequence_kind {
    SEQUENCE_REPLY,          /* tokens are generated */
    SEQUENCE_CLASSIFICATION, /* the next token's distribution over given ids */
    SEQUENCE_SCORE,          /* the probabilities of tokens that are given; nothing is generated */
    SEQUENCE_EMBEDDING,      /* states of the model's layers at the prompt's tokens */
} sequence_kind;

typedef enum sequence_pooling {
    POOL_LAST, /* the state at the last token */
    POOL_MEAN, /* the mean over all tokens */
} sequence_pooling;

typedef struct sequence_request {
    sequence_kind kind;
    const int32_t *prompt; /* copied */
    size_t n_prompt;       /* ≥ 1 */

    /* A reply. */
    sampling_params sampling;
    size_t max_tokens; /* 0: up to the context's end */
    size_t min_tokens; /* before it has so many, nothing but a stop or its grammar ends the reply */
    const char *const *stops;
    size_t n_stops;
    bool shows_control; /* control tokens are part of the text */
    lookup_setting lookup;
    /* What the reply must match, compiled for the engine's model; NULL: anything. Not needed after
     * the call. What must follow is drafted whatever `lookup` says, and the reply ends where
     * nothing can follow. Not with a forced reply. */
    const grammar *grammar;
    /* For measuring only, n_forced > 0: these tokens are the reply, whatever the model samples.
     * Everything is computed and verified as without, only the choice is given. Copied; max_tokens
     * must be 0. */
    const int32_t *forced;
    size_t n_forced;
    double forced_agreement; /* LOOKUP_DRAFT: a guess is right with this probability */
    bool wants_scores;       /* its tokens are scored, … */
    bool scores_drawn; /* … by what they were drawn from, after all of the sampling: what cannot be
                          drawn has no probability */

    /* A reply or a score. */
    size_t n_scored; /* the prompt's last n_scored tokens are scored, < n_prompt; of a score ≥ 1 */
    size_t n_top;    /* with each scored token the most probable ones, ≤ SCORE_MAX_TOP */

    /* A classification: the next token's distribution over these ids is the result. */
    const int32_t *labels; /* copied */
    size_t n_labels;

    /* An embedding. Layers as of a state_reader (model/forward.h): 1 … model_last_state,
     * increasing; copied. */
    const uint32_t *layers;
    size_t n_layers;
    sequence_pooling pooling;
    bool is_urgent; /* goes before all replies, as classifications do */

    bool is_alone;             /* takes no prefix that others left, and leaves none to others */
    request_priority priority; /* of what is not urgent */
    double deadline_ms;        /* after submission: then it fails with ERR_TIMEOUT; 0: none */

    void (*wake)(void *context); /* or NULL */
    void *wake_context;
} sequence_request;

typedef struct sequence_stats {
    size_t prompt_tokens;
    size_t cached_tokens; /* of the prompt, whose KV was already there */
    size_t reply_tokens;
    size_t steps; /* decode steps */
    size_t drafted;
    size_t accepted;
    size_t parked;          /* how often it made room for interactive work */
    size_t refilled_tokens; /* computed again, because their KV had been given up */
    double queue_ms;        /* submit → first step */
    double prefill_ms;      /* first step → first token, or what else the prompt gives */
    double decode_ms;       /* first token → last */
    double switch_ms; /* time the conductor needed to change to this engine for the first step */
    uint64_t
        weight_bytes; /* read for this sequence: a shared step is divided among its sequences */
    uint64_t kv_bytes;
    uint64_t sampled_hash; /* of what the model itself sampled while the reply was forced; else 0 */
} sequence_stats;

typedef enum sequence_state { SEQUENCE_RUNNING, SEQUENCE_FINISHED, SEQUENCE_FAILED } sequence_state;
typedef enum finish_reason { FINISH_STOP, FINISH_LENGTH } finish_reason;

#define SEQUENCE_MAX_LABELS 64

/* What has come since the last poll. Text holds whole UTF-8 characters only, and never a stop
 * string or a part of one that may still become whole. */
typedef struct sequence_poll_result {
    sequence_state state;
    finish_reason finish; /* when finished */
    const char *stop; /* the stop string that ended it, or NULL; lives as long as the sequence */
    failure failure;  /* when failed */
    sequence_stats stats;                    /* so far */
    float label_logits[SEQUENCE_MAX_LABELS]; /* classification, when finished */
    float log_sum_exp; /* classification: of all logits, so that exp(l - lse) is the probability */
} sequence_poll_result;

/* ERR_CONTEXT (with both numbers) for a prompt that leaves no room, ERR_TOO_LARGE for a request
 * whose KV can never fit the memory limit, ERR_BUSY when the queue is full (engine_status says when
 * to come back), ERR_INVALID for a token or sampling value out of range. */
error_code engine_submit(engine *e, const sequence_request *request, sequence **out, failure *fail);
/* Appends new text and new token ids (either may be NULL: then that kind is dropped). */
error_code sequence_poll(sequence *s, sequence_poll_result *out, buffer *text, token_list *tokens);
/* What the last poll brought of scores, in the order of positions: of the prompt's scored tokens,
 * then, where they are wanted, of exactly the reply's tokens that came with it (a reply's end token
 * is not among them). Until the next poll. */
const score_list *sequence_scores(const sequence *s);
/* An embedding's states once it is finished: for each layer, n_embd values. The sequence owns them.
 */
const float *sequence_states(const sequence *s);
/* Asks the conductor to stop the sequence; it then fails with ERR_CANCELLED. */
void sequence_cancel(sequence *s);
/* Gives the handle back; a running sequence is cancelled. After it returns, wake is not called. */
void sequence_release(sequence *s);

/* ---- measured state, for metrics and `route` ------------------------------------------------ */

typedef struct engine_status {
    size_t slots; /* replies that may run at once */
    size_t running;
    size_t waiting;
    size_t parked;
    size_t kv_bytes;       /* memory that KV takes now, with that of finished sequences */
    size_t kv_limit_bytes; /* for the KV of all engines; 0: none */
    double reply_ms;       /* running mean of a reply, from its first step to its end; 0: unknown */
    double retry_after_s;  /* when a place should be free for one more in the queue; 0: unknown */
    size_t pauses;         /* of this engine's steps, for urgent work */
    uint64_t reply_tokens; /* so far, of replies that still run too */
    uint64_t read_bytes;   /* weights and KV that its steps read so far, its draft model's not */
    double switch_ms;      /* the last change to this engine */
    double drafting_ms;    /* what its draft model's steps took so far */
    double prefill_row_ms; /* measured cost of one more prompt row in a step, attention left out */
    double
        step_ms[ENGINE_STEP_ROWS + 1]; /* T(n): measured cost of a decode step of n rows; 0: none */
} engine_status;

void engine_read_status(engine *e, engine_status *out);

#endif
