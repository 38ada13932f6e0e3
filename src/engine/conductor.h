/*
 * conductor.h: inside the engine room only: the engine's parts and what its files ask of each
 * other. Everything of an engine but its fixed fields and `arrivals` is the conductor thread's.
 *
 *   engine.c         making engines, submitting, cancelling, status
 *   measure_steps.c  what steps cost, before the first request
 *   conductor.c      the loop: one step after the other; urgent work in a step's pauses
 *   turns.c          which engine's step is next
 *   admission.c      who gets a place, who is parked, who has to go
 *   memory.c         who is promised how much memory for KV
 *   drafter.c        a small model's guesses, between two steps
 *   batch.c          which rows a step has
 *   step.c           running a step, and what its results mean
 *   queue.c          sequences in the order they came
 */
#ifndef ENGINE_CONDUCTOR_H
#define ENGINE_CONDUCTOR_H

#include "engine/pace.h"
#include "engine/queue.h"
#include "engine/turns.h"

typedef struct drafter drafter; /* drafter.h */

#define URGENT_SLOTS 4  /* KV slots beside those of replies: a probe never waits for one */
#define URGENT_ROWS 64  /* of urgent work in one step */
#define KV_WORK_MS 10.0 /* of a step, for copying KV and giving it back */
#define PREFILL_LEAST 8 /* prompt rows of a step: fewer would take for ever */

/* Of a row with logits: the mask, one of the lane's in this step, that allows what is sampled from
 * it. No lane: all logits are read. */
typedef struct masked_row {
    mask_lane *lane;
    size_t row;
} masked_row;

/* One step of one engine: its scratch memory, and what it consists of. It is in progress from
 * step_begin to step_end, and may be paused in between. */
typedef struct step {
    engine *engine;
    forward *forward;
    forward_row *rows;
    size_t max_rows, max_outputs;
    draft **drafts;        /* max_outputs; of the step being composed */
    state_reader *readers; /* max_outputs: of its embeddings */
    masked_row *masked;    /* max_outputs: by which masks logits are sampled */

    size_t n_rows, n_logits, n_sequences, n_readers;
    bool is_scored; /* rows of a prompt give logits that are scored */
    step_work work;
} step;

/* What the draft model took before the step that is composed. */
typedef struct drafting_time {
    double ms;
    double budget_ms; /* of it, what lengthens the replies of others, as prompts do */
} drafting_time;

struct engine {
    conductor *conductor;
    const model *model;
    engine_options options;
    size_t fitting_tokens; /* more of one sequence can never fit the memory limit */
    engine *next;

    step main;
    step urgent; /* while a main step of any engine is paused */
    kv_cache *kv;
    sequence_queue waiting; /* for a place */
    sequence_queue running; /* have a KV slot and a place; in the order they got it */
    sequence_queue parked;  /* have a KV slot */
    step_cost cost;
    engine_costs measured; /* at the start */
    pace pace;
    double
        service_ms; /* running mean of a reply's time from its first step to its end; 0: unknown */
    turn_claim turn;
    bool passed_over; /* had nothing to do when it was its turn */
    double switch_ms;
    size_t pauses;
    uint64_t reply_tokens, read_bytes;     /* of all its steps */
    acceptance acceptance[LOOKUP_CLASSES]; /* of drafts from the history, by intent */
    drafter *drafter;                      /* NULL: there is no draft model */
    drafting_time drafting;
    double drafting_ms; /* so far */
    acceptance drafter_acceptance;

    float *own_logits; /* n_vocab: as the model computed them, while a token is sampled */

    sequence_queue arrivals; /* under the conductor's lock */
    engine_status status;    /* under the conductor's lock */
};

struct conductor {
    team *threads;
    masker *masker;
    engine *engines; /* a list; fixed once started */
    size_t memory_limit;
    size_t kv_limit; /* what the weights leave of it; 0: none */
    pthread_t thread;
    bool started;
    double urgent_credit_ms; /* what urgent work may take of a step in progress */
    atomic_bool pause;       /* the step in progress shall look for urgent work */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
    bool look; /* something arrived or was cancelled since the loop last looked */
};

/* ---- conductor.c --------------------------------------------------------------------------- */

void *conductor_run(void *context); /* the conductor */

/* ---- measure_steps.c ----------------------------------------------------------------------- */

/* Takes the times of steps that the options name, or measures T(n) for a few n. Before the
 * conductor's thread runs. */
void engine_learn_step_cost(engine *e);

/* ---- admission.c --------------------------------------------------------------------------- */

/* Gives places to parked and waiting sequences, and parks for interactive ones. */
void engine_admit(engine *e);
/* Urgent ones only: while a step is paused. */
void engine_admit_urgent(engine *e);
/* Promises running batch sequences the memory that their next step may need. */
void engine_extend_promises(engine *e);
/* Takes out what was cancelled or has passed its deadline. */
void engine_drop_ended(engine *e);
/* It has ended; it is in no queue any more. */
void engine_leave(engine *e, sequence *s);

/* ---- memory.c ------------------------------------------------------------------------------ */

/* Fails when the weights leave no room. */
error_code memory_plan(conductor *c, failure *fail);
typedef enum memory_answer {
    MEMORY_PROMISED,
    MEMORY_FULL,  /* there is no room, and none to be taken */
    MEMORY_TAKEN, /* by *victim, which gives way: ask again once its KV is given back */
} memory_answer;

/* Promises the sequence memory for so many tokens in all; only MEMORY_PROMISED changes anything.
 * With `force`, those that give way to it may lose their KV. */
memory_answer memory_promise(sequence *s, size_t tokens, bool force, sequence **victim);
/* Makes the promises good: finished sequences are forgotten where there is not room for both, of
 * this engine first. */
void memory_evict(engine *first);

/* ---- batch.c ------------------------------------------------------------------------------- */

typedef struct engine_load {
    size_t streaming;  /* replies */
    double budget_ms;  /* the least of the engines whose replies stream; INFINITY: none */
    size_t prefilling; /* engines with prompts of replies to read */
} engine_load;

/* Of all engines. */
engine_load conductor_read_load(const conductor *c);
/* The rows of the next step; none: there is nothing to do. */
void step_compose(step *st);
/* The rows of urgent sequences alone. */
void step_compose_urgent(step *st);

/* ---- step.c -------------------------------------------------------------------------------- */

error_code step_create(step *st, engine *e, size_t max_rows, size_t max_outputs, failure *fail);
void step_destroy(step *st);
void step_begin(step *st);
/* Hands out what the step gave; its forward pass has run for so long. */
void step_end(step *st, double ran_ms);

#endif
