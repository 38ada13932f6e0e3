/* bench_timeline.c: what the threads of a few decoding steps did, as a file that chrome://tracing
 * and ui.perfetto.dev draw: one row a thread, a stage's parts as preparing, work and waiting. */
#include "cli/bench.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_EVENTS = 1 << 16 }; /* a thread; 4 steps of 80 layers have 8000 */

struct bench_timeline {
    FILE *file;
    const char *path;
    int n_threads;
    int n_models;
    json_t *events;
};

/* The file is opened now: a path that cannot be written is said before anything is measured. */
error_code bench_timeline_create(bench_timeline **out, const char *path, int n_threads,
                                 failure *fail)
{
    *out = NULL;
    bench_timeline *t = calloc(1, sizeof *t);
    if (t != NULL)
        *t = (bench_timeline){.path = path, .n_threads = n_threads, .events = json_array()};
    if (t == NULL || t->events == NULL) {
        bench_timeline_destroy(t);
        return failure_set(fail, ERR_MEMORY, "no memory for a timeline");
    }
    t->file = fopen(path, "we");
    if (t->file == NULL) {
        bench_timeline_destroy(t);
        return failure_set(fail, ERR_IO, "--timeline: cannot write %s: %s", path, strerror(errno));
    }
    *out = t;
    return OK;
}

void bench_timeline_destroy(bench_timeline *t)
{
    if (t == NULL)
        return;
    json_decref(t->events);
    if (t->file != NULL)
        fclose(t->file);
    free(t);
}

static json_t *event_json(const trace_event *e, double start_ms, int process, int thread)
{
    static const char *const parts[] = {
        [TRACE_PREPARE] = "prepare", [TRACE_WORK] = "work", [TRACE_WAIT] = "wait"};
    return json_pack(
        "{s:o, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:I}}", "name",
        json_sprintf(e->part == TRACE_WORK ? "%s" : "%s: %s", e->stage, parts[e->part]), "cat",
        parts[e->part], "ph", "X", "ts", 1e3 * (e->begin_ms - start_ms), "dur",
        1e3 * (e->end_ms - e->begin_ms), "pid", process, "tid", thread, "args", "layer",
        (json_int_t)e->layer);
}

/* The model's name, where the events of one process would have the program's. */
static json_t *name_json(const bench_model *m, int process)
{
    return json_pack("{s:s, s:s, s:i, s:{s:o}}", "name", "process_name", "ph", "M", "pid", process,
                     "args", "name", json_sprintf("%s %s", m->name, m->type));
}

static bool add_events(bench_timeline *t, const forward_trace *trace)
{
    const trace_event *events;
    double start_ms = 0;
    for (int thread = 0; thread < t->n_threads; thread++) {
        size_t n = forward_trace_events(trace, thread, &events);
        if (thread == 0 && n > 0)
            start_ms = events[0].begin_ms;
        for (size_t i = 0; i < n; i++)
            if (json_array_append_new(t->events,
                                      event_json(&events[i], start_ms, t->n_models, thread)) != 0)
                return false;
    }
    return true;
}

error_code bench_timeline_add(bench_timeline *t, subject *s, const bench_model *m, failure *fail)
{
    const speed_test test = {.kind = SPEED_DECODE, .n = TIMELINE_TOKENS};
    forward_trace *trace;
    error_code code = forward_trace_create(&trace, t->n_threads, MOST_EVENTS, fail);
    if (code != OK)
        return code;
    subject_trace(s, &test, trace);
    if (json_array_append_new(t->events, name_json(m, t->n_models)) != 0 || !add_events(t, trace))
        code = failure_set(fail, ERR_MEMORY, "no memory for the timeline of %s", m->name);
    t->n_models++;
    forward_trace_destroy(trace);
    return code;
}

error_code bench_timeline_write(const bench_timeline *t, failure *fail)
{
    json_t *all = json_pack("{s:O, s:s}", "traceEvents", t->events, "displayTimeUnit", "ms");
    if (all == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a timeline");
    bool written = json_dumpf(all, t->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0;
    json_decref(all);
    if (written && fflush(t->file) == 0)
        return OK;
    return failure_set(fail, ERR_IO, "--timeline: cannot write %s: %s", t->path, strerror(errno));
}
