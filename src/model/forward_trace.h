/*
 * forward_trace.h: what every thread of a step did, and when: each stage's preparing (norm and
 * quantisation), its work and the wait for the others.
 */
#ifndef MODEL_FORWARD_TRACE_H
#define MODEL_FORWARD_TRACE_H

#include "model/forward.h"

typedef enum trace_part { TRACE_PREPARE, TRACE_WORK, TRACE_WAIT } trace_part;

typedef struct trace_event {
    const char *stage; /* "gate and up" */
    size_t layer;
    trace_part part;
    double begin_ms, end_ms; /* of clock_ms */
} trace_event;

typedef struct forward_trace forward_trace;

/* Each of n_threads threads keeps its first `most` events. */
error_code forward_trace_create(forward_trace **out, int n_threads, size_t most, failure *fail);
void forward_trace_destroy(forward_trace *t); /* NULL is allowed */

/* From the next step on `f` records into the trace, made for as many threads; NULL: no longer. */
void forward_set_trace(forward *f, forward_trace *t);

/* A thread's events, in order; between steps only. */
size_t forward_trace_events(const forward_trace *t, int thread, const trace_event **out);

#endif
