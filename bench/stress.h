/*
 * stress.h: what the files of `make stress` share.
 *
 *   stress_question.c   what is asked, a function of seed and number, and what it answers alone
 *   stress_judge.c      whether an answer is as it has to be
 *   stress_watch.c      who makes no progress, and what it waits for
 *   stress.c            many clients at once, every answer beside its solo run
 *
 * A question has one answer: it says all that tokens may depend on. In what manner it is asked
 * (with which lookup and priority, until when, in whose company) must not show in the answer.
 */
#ifndef BENCH_STRESS_H
#define BENCH_STRESS_H

#include <stdatomic.h>
#include <stdio.h>

#include "engine/engine.h"

enum { SMALL, LARGE, MODELS };

enum {
    STRESS_CONTEXT = 1024,
    STRESS_PROMPT = 700, /* tokens, at most */
    STRESS_REPLY = 64,
    STRESS_LABELS = 3,
    STRESS_CLIENTS = 256,
};

/* A number in [0, 1) for what is called `field` of the question or request with this number. */
double stress_draw(uint64_t seed, uint64_t number, uint64_t field);
/* Ends the program where the fault is not the engine's: no memory, no model. */
void stress_must(error_code code, const failure *fail);

/* ---- questions and answers ------------------------------------------------------------------ */

typedef struct question {
    int where; /* SMALL or LARGE */
    token_list prompt;
    size_t max_tokens;
    bool classify;
    bool goes_on; /* the prompt begins with the question before and its answer */
    sampling_params sampling;
    logit_bias bias; /* against the token that ends a reply; token -1: none */
    char stop[4];    /* "": none */
} question;

typedef struct answer {
    token_list tokens;
    buffer text;
    sequence_poll_result last;
} answer;

typedef struct manner {
    lookup_setting lookup;
    request_priority priority;
    double deadline_ms; /* 0: none */
} manner;

engine_options stress_options(int where);
error_code question_submit(const question *q, const manner *how, engine *e, void (*wake)(void *),
                           void *wake_context, sequence **out, failure *fail);
/* Makes the question of this number and answers it in an engine of its own. `before` and its
 * answer: of the number before, or NULL. */
void question_make(question *q, answer *solo, uint64_t seed, size_t number,
                   const model *const *models, const question *before, const answer *said);
void question_free(question *q);
void answer_free(answer *a);

/* ---- clients, as the watch sees them --------------------------------------------------------- */

typedef struct client {
    /* For the watch too. */
    _Atomic(sequence *) sequence; /* NULL: nothing is asked */
    atomic_size_t progress;       /* changes when something has come */
    atomic_size_t number;         /* of the request */

    /* The driver's. */
    const question *asked;
    const answer *solo;
    manner how;
    answer got;
    double next_ms;   /* when it asks again */
    double cancel_ms; /* when it cancels; 0: never */
    size_t cancel_at; /* tokens that it waits for before it cancels; 0: never */
    bool abandons;    /* releases instead of cancelling */
    bool cancelled;
} client;

/* What is wrong with what a client has got; NULL: nothing. */
const char *stress_judge(const client *c);

typedef struct watch watch;

/* Watches from a thread of its own until watch_end. When a client has had no progress for
 * `patience_s` it says what all of them wait for and calls `stalled`, which does not return. */
watch *watch_start(client *clients, size_t n_clients, engine *const *engines, double patience_s,
                   void (*stalled)(void *context), void *context);
void watch_end(watch *w);

#endif
