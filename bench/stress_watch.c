/* stress_watch.c: who makes no progress, and what it waits for. */
#include <stdlib.h>
#include <unistd.h>

#include "stress.h"
#include "engine/conductor.h"

#define LOOK_MS 250

/* Time is counted in looks: while the whole process is stopped nothing can make progress. */
struct watch {
    pthread_t thread;
    client *clients;
    size_t n_clients;
    engine *const *engines;
    size_t patience;              /* looks without progress */
    size_t seen[STRESS_CLIENTS];  /* their progress, at the last look */
    size_t still[STRESS_CLIENTS]; /* looks since it changed */
    void (*stalled)(void *context);
    void *context;
    atomic_bool ends;
};

/* ---- what they wait for --------------------------------------------------------------------- */

/* Reads what is the conductor's without its lock: whoever stands still may hold it, and what stands
 * still does not change. */

static bool is_in(const sequence_queue *q, const sequence *s)
{
    for (const sequence *i = q->first; i != NULL; i = i->next)
        if (i == s)
            return true;
    return false;
}

static const char *describe_running(const sequence *s)
{
    if (s->step != NULL)
        return "the end of the step that has rows of it";
    if (kv_is_copying(s->slot))
        return "its prefix to be copied";
    return sequence_is_decoding(s) ? "a step, to decode" : "a step, to prefill";
}

static const char *describe(const sequence *s)
{
    const engine *e = s->engine;
    if (is_in(&e->running, s))
        return describe_running(s);
    if (is_in(&e->parked, s))
        return "a place (parked)";
    if (is_in(&e->arrivals, s))
        return "the conductor to see it";
    if (is_in(&e->waiting, s))
        return e->running.length < e->options.slots ? "memory, or its turn" : "a place";
    return s->result.state == SEQUENCE_RUNNING ? "nothing: it is in no queue" : "its owner to look";
}

static void dump_client(const client *c, size_t index, size_t still)
{
    const sequence *s = atomic_load(&c->sequence);
    if (s == NULL)
        return;
    fprintf(
        stderr,
        "  client %zu, request %zu: no progress for %.1f s; %s, %s%s, prompt %zu, of the answer "
        "%zu tokens, KV of %zu; waits for: %s\n",
        index, atomic_load(&c->number), (double)(still * LOOK_MS) / 1e3,
        c->asked->where == SMALL ? "small" : "large",
        s->kind == SEQUENCE_CLASSIFICATION ? "classification" : priority_name(s->priority),
        atomic_load(&s->cancelled) ? ", cancelled" : "", s->n_prompt,
        s->tokens.length - s->n_prompt, s->slot != NULL ? s->slot->tokens.length : 0, describe(s));
}

static void dump_engine(const engine *e, const char *name)
{
    kv_usage kv = kv_read_usage(e->kv);
    fprintf(stderr,
            "  %s: arrived %zu, waiting %zu, running %zu, parked %zu; KV %zu bytes, of them %zu of "
            "finished ones, limit for both models %zu\n",
            name, e->arrivals.length, e->waiting.length, e->running.length, e->parked.length,
            kv.committed_bytes, kv.idle_bytes, e->conductor->kv_limit);
}

/* ---- watching ------------------------------------------------------------------------------- */

static bool stands_still(watch *w)
{
    bool found = false;
    for (size_t i = 0; i < w->n_clients; i++) {
        const client *c = &w->clients[i];
        size_t progress = atomic_load(&c->progress);
        bool same = atomic_load(&c->sequence) != NULL && progress == w->seen[i];
        w->still[i] = same ? w->still[i] + 1 : 0;
        w->seen[i] = progress;
        found = found || w->still[i] > w->patience;
    }
    return found;
}

static void *run_watch(void *context)
{
    watch *w = context;
    while (!atomic_load(&w->ends)) {
        usleep(LOOK_MS * 1000);
        if (!stands_still(w))
            continue;
        fprintf(stderr, "\nstress: STALLED: no progress for %zu s\n", w->patience * LOOK_MS / 1000);
        for (size_t i = 0; i < w->n_clients; i++)
            dump_client(&w->clients[i], i, w->still[i]);
        dump_engine(w->engines[SMALL], "small");
        dump_engine(w->engines[LARGE], "large");
        w->stalled(w->context);
    }
    return NULL;
}

watch *watch_start(client *clients, size_t n_clients, engine *const *engines, double patience_s,
                   void (*stalled)(void *context), void *context)
{
    failure fail;
    watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        stress_must(failure_set(&fail, ERR_MEMORY, "no memory"), &fail);
    *w = (watch){.clients = clients,
                 .n_clients = n_clients,
                 .engines = engines,
                 .patience = (size_t)(patience_s * 1000 / LOOK_MS),
                 .stalled = stalled,
                 .context = context};
    if (pthread_create(&w->thread, NULL, run_watch, w) != 0)
        stress_must(failure_set(&fail, ERR_MEMORY, "cannot start a thread"), &fail);
    return w;
}

void watch_end(watch *w)
{
    atomic_store(&w->ends, true);
    pthread_join(w->thread, NULL);
    free(w);
}
