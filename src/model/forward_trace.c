/* forward_trace.c: keeping what the threads of a step did. */
#include "model/forward_trace.h"

#include <stdlib.h>

#include "base/aligned.h"
#include "base/clock.h"
#include "model/forward_internal.h"

enum { CACHE_LINE = 64 };

/* A cache line each: every thread writes its own. */
typedef struct thread_trace {
    _Alignas(CACHE_LINE) trace_event *events;
    size_t n;
} thread_trace;

struct forward_trace {
    int n_threads;
    size_t most;
    thread_trace *threads;
};

error_code forward_trace_create(forward_trace **out, int n_threads, size_t most, failure *fail)
{
    *out = NULL;
    forward_trace *t = calloc(1, sizeof *t);
    if (t != NULL)
        t->threads = aligned_array((size_t)n_threads, sizeof *t->threads);
    bool enough = t != NULL && t->threads != NULL;
    for (int i = 0; enough && i < n_threads; i++) {
        t->n_threads = i + 1;
        t->threads[i] = (thread_trace){.events = calloc(most, sizeof(trace_event))};
        enough = t->threads[i].events != NULL;
    }
    if (!enough) {
        forward_trace_destroy(t);
        return failure_set(fail, ERR_MEMORY, "no memory for a timeline of %zu events", most);
    }
    t->most = most;
    *out = t;
    return OK;
}

void forward_trace_destroy(forward_trace *t)
{
    if (t == NULL)
        return;
    for (int i = 0; i < t->n_threads; i++)
        free(t->threads[i].events);
    free(t->threads);
    free(t);
}

void forward_set_trace(forward *f, forward_trace *t)
{
    f->trace = t;
}

size_t forward_trace_events(const forward_trace *t, int thread, const trace_event **out)
{
    *out = t->threads[thread].events;
    return t->threads[thread].n;
}

static const char *stage_name(stage s)
{
    static const char *const names[STAGE_END] = {
        [STAGE_EMBED] = "embedding",
        [STAGE_QKV] = "q, k and v",
        [STAGE_QK_ROWS] = "norm of q and k",
        [STAGE_HEADS] = "heads",
        [STAGE_CLOSE] = "closing keys",
        [STAGE_ATTENTION] = "attention",
        [STAGE_ATTENTION_OUTPUT] = "attention output",
        [STAGE_ATTENTION_NORM] = "norm of attention",
        [STAGE_GATE_UP] = "gate and up",
        [STAGE_DOWN] = "down",
        [STAGE_EXPERTS] = "experts",
        [STAGE_FFN_NORM] = "norm of feed-forward",
        [STAGE_OUTPUTS] = "output norm",
        [STAGE_LOGITS] = "logits",
    };
    return names[s];
}

double forward_trace_begin(const worker *w)
{
    return w->f->trace == NULL ? 0 : clock_ms();
}

double forward_trace_note(const worker *w, place at, trace_part part, double begin_ms)
{
    forward_trace *t = w->f->trace;
    if (t == NULL)
        return 0;
    double now = clock_ms();
    thread_trace *own = &t->threads[w->thread];
    if (own->n < t->most)
        own->events[own->n++] = (trace_event){stage_name(at.stage), at.layer, part, begin_ms, now};
    return now;
}
