/*
 * conductor.h: inside the engine room only: the engine's parts and what conductor.c and batch.c ask
 * of each other. Everything of an engine but its fixed fields and `arrivals` is the conductor
 * thread's.
 */
#ifndef ENGINE_CONDUCTOR_H
#define ENGINE_CONDUCTOR_H

#include "engine/sequence.h"

typedef struct sequence_queue {
    sequence *first, *last;
    size_t length;
} sequence_queue;

void queue_push(sequence_queue *q, sequence *s);
sequence *queue_pop(sequence_queue *q);

struct engine {
    conductor *conductor;
    const model *model;
    engine_options options;
    engine *next;

    forward *forward;
    forward_row *rows;
    size_t max_rows, max_outputs;
    kv_cache *kv;
    sequence_queue waiting; /* for a slot */
    sequence_queue running; /* in the order they were admitted */
    step_cost cost;
    acceptance priors[LOOKUP_CLASSES];

    sequence_queue arrivals; /* under the conductor's lock */
    engine_status status;    /* under the conductor's lock */
};

/* Composes one step of the engine, runs it, hands out what it gave. False: there was nothing to do.
 */
bool engine_run_step(engine *e, team *threads, double chosen_ms, bool switched);
/* Takes cancelled sequences out of waiting and running. */
void engine_drop_cancelled(engine *e);
/* Measures T(n) for a few n, for less than budget_ms. */
void engine_measure_step_cost(engine *e, team *threads, double budget_ms);

/* Makes the conductor look at its engines again. Any thread. */
void conductor_wake(engine *e);

#endif
