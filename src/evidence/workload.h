/*
 * workload.h: inside the evidence room only: the requests of one block, as they come due, and what
 * became of them. What blocks on own engines (block.c) and on a server (server_block.c) share.
 */
#ifndef EVIDENCE_WORKLOAD_H
#define EVIDENCE_WORKLOAD_H

#include "evidence/block.h"

typedef struct workload {
    const task *tasks; /* the caller's */
    size_t n_tasks;
    const block_options *options; /* the caller's */
    size_t capacity;              /* most requests in flight */
    size_t in_flight;             /* kept by who sends them */
    size_t next, done;
    double *due; /* open loop: when each task arrives, in ms after the begin */
    double begin_ms, end_ms;
    json_t **items; /* by task; NULL: not sent yet */
    char **answers; /* by task; NULL: none */
} workload;

/* After a failure, too, workload_free is to be called. */
error_code workload_prepare(workload *w, const task *tasks, size_t n_tasks,
                            const block_options *options, failure *fail);
void workload_free(workload *w);

void workload_begin(workload *w);

/* When the next request is due, in ms from now; negative: none before another ends. */
double workload_next_due(const workload *w);
/* True: task *index is to be sent, and was due at *due_ms. */
bool workload_take_due(workload *w, size_t *index, double *due_ms);
/* ERR_CANCELLED: somebody wants an end. */
error_code workload_check_stopped(const workload *w, failure *fail);
/* The text of a request that was answered, once its item is filled in; NULL: an empty one. */
void workload_keep_answer(workload *w, size_t index, const char *text);
/* A request has ended, one way or the other. */
void workload_count_done(workload *w);

/* When all are done: judges the answers. *items: to be released; *seconds: from the begin to the
 * last end. */
error_code workload_results(workload *w, checker *judge, json_t **items, double *seconds,
                            failure *fail);

#endif
