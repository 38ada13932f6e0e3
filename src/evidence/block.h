/*
 * block.h: some tasks through one arm on an orchestra, as load: so many in flight (closed loop), or
 * as they arrive (open loop). Every task gives one item (summary.h). The caller's thread drives
 * all.
 */
#ifndef EVIDENCE_BLOCK_H
#define EVIDENCE_BLOCK_H

#include "evidence/arm.h"
#include "evidence/checker.h"
#include "evidence/task.h"
#include "orchestra/orchestra.h"

typedef enum load_kind {
    LOAD_CLOSED,  /* the next request when one has ended */
    LOAD_POISSON, /* arrivals at random, so many a second */
    LOAD_TRACE,   /* at the trace's own times */
} load_kind;

typedef struct block_options {
    load_kind load;
    size_t in_flight;  /* LOAD_CLOSED */
    double per_second; /* LOAD_POISSON */
    size_t max_tokens; /* of a reply, where the task says none */
    uint64_t seed;     /* of sampling (greedy: without effect) and of the arrivals */
    float temperature;
    bool (*stopped)(void *context); /* asked now and then; true: give up. Or NULL */
    void (*progress)(void *context, size_t done);
    /* Told of each answer as it ends, with what its item says so far. Or NULL */
    void (*answered)(void *context, size_t task, const char *text, const json_t *item);
    void *context;
} block_options;

/* *items: a JSON list in the order of the tasks, to be released. *seconds: from the first request
 * to the end of the last. A request that the orchestra refuses is an item with an error; a failure
 * here means that the replay cannot go on (ERR_CANCELLED: it was stopped). */
error_code block_run(orchestra *o, const config *c, const arm *a, const task *tasks, size_t n_tasks,
                     const block_options *options, checker *judge, json_t **items, double *seconds,
                     failure *fail);

#endif
