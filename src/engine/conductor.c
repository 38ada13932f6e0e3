/* conductor.c: the thread that owns every step. It is worker 0 of the one team that all models
 * share, because all share one memory bus; it takes the engines in turn, and sleeps when none has
 * work. */
#include "engine/conductor.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define MEASURE_BUDGET_MS 400.0 /* per engine, at start-up */

struct conductor {
    team *threads;
    engine *engines; /* a list; fixed once started */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
    bool look; /* something arrived or was cancelled since the loop last looked */
};

void queue_push(sequence_queue *q, sequence *s)
{
    s->next = NULL;
    if (q->last != NULL)
        q->last->next = s;
    else
        q->first = s;
    q->last = s;
    q->length++;
}

sequence *queue_pop(sequence_queue *q)
{
    sequence *s = q->first;
    if (s == NULL)
        return NULL;
    q->first = s->next;
    if (q->first == NULL)
        q->last = NULL;
    q->length--;
    s->next = NULL;
    return s;
}

/* ---- engines ----------------------------------------------------------------------------------
 */

engine_options engine_defaults(void)
{
    return (engine_options){.slots = 4, .queue_limit = 256, .prefill_chunk = 128, .kv = KV_F16};
}

static error_code check_options(const engine_options *o, failure *fail)
{
    if (o->slots == 0 || o->slots > 1024)
        return failure_set(fail, ERR_CONFIG, "slots is %zu, must be 1 to 1024", o->slots);
    if (o->prefill_chunk == 0 || o->prefill_chunk > 4096)
        return failure_set(fail, ERR_CONFIG, "prefill_chunk is %zu, must be 1 to 4096",
                           o->prefill_chunk);
    return OK;
}

static void engine_destroy(engine *e)
{
    forward_destroy(e->forward);
    kv_destroy(e->kv);
    free(e->rows);
    free(e);
}

error_code conductor_add(conductor *c, const model *m, const engine_options *options, engine **out,
                         failure *fail)
{
    error_code code = check_options(options, fail);
    if (code != OK)
        return code;
    engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an engine");
    e->conductor = c;
    e->model = m;
    e->options = *options;
    if (e->options.context == 0)
        e->options.context = m->config.context_length;
    e->max_outputs = options->slots + 2 * LOOKUP_MAX_DRAFT;
    e->max_rows = options->prefill_chunk + e->max_outputs;
    e->rows = calloc(e->max_rows, sizeof *e->rows);
    if (e->rows == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for an engine");
    if (code == OK)
        code = forward_create(&e->forward, m, team_size(c->threads), e->max_rows, e->max_outputs,
                              fail);
    if (code == OK)
        code = kv_create(&e->kv, &m->config, options->kv, e->options.context, options->slots, fail);
    if (code != OK) {
        engine_destroy(e);
        return code;
    }
    e->next = c->engines;
    c->engines = e;
    *out = e;
    return OK;
}

const model *engine_model(const engine *e)
{
    return e->model;
}

size_t engine_context(const engine *e)
{
    return e->options.context;
}

void engine_read_status(engine *e, engine_status *out)
{
    pthread_mutex_lock(&e->conductor->lock);
    *out = e->status;
    out->waiting += e->arrivals.length;
    pthread_mutex_unlock(&e->conductor->lock);
}

error_code engine_submit(engine *e, const sequence_request *request, sequence **out, failure *fail)
{
    conductor *c = e->conductor;
    sequence *s;
    error_code code = sequence_create(&s, e, request, fail);
    if (code != OK)
        return code;
    pthread_mutex_lock(&c->lock);
    size_t waiting = e->status.waiting + e->arrivals.length;
    bool full = c->stop || waiting >= e->options.queue_limit + e->options.slots;
    if (!full) {
        atomic_fetch_add(&s->references, 1);
        queue_push(&e->arrivals, s);
        c->look = true;
        pthread_cond_signal(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    if (full) {
        sequence_unreference(s);
        return failure_set(fail, ERR_BUSY, "%zu requests are waiting already, try again later",
                           waiting);
    }
    *out = s;
    return OK;
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

void conductor_wake(engine *e)
{
    conductor *c = e->conductor;
    pthread_mutex_lock(&c->lock);
    c->look = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* Under the lock: takes in arrivals, shows the state. */
static void exchange(engine *e)
{
    for (sequence *s; (s = queue_pop(&e->arrivals)) != NULL;)
        queue_push(&e->waiting, s);
    e->status.running = e->running.length;
    e->status.waiting = e->waiting.length;
    e->status.kv_bytes = kv_read_usage(e->kv).committed_bytes;
    for (size_t n = 1; n <= STEP_COST_ROWS; n++)
        e->status.step_ms[n] = e->cost.ms[n];
}

/* Waits until there may be work; false when the conductor shall end. */
static bool look_around(conductor *c, bool idle)
{
    pthread_mutex_lock(&c->lock);
    for (engine *e = c->engines; idle && e != NULL; e = e->next)
        exchange(e);
    while (idle && !c->look && !c->stop)
        pthread_cond_wait(&c->changed, &c->lock);
    bool looked = c->look;
    c->look = false;
    for (engine *e = c->engines; e != NULL; e = e->next)
        exchange(e);
    bool go_on = !c->stop;
    pthread_mutex_unlock(&c->lock);
    for (engine *e = c->engines; looked && e != NULL; e = e->next)
        engine_drop_cancelled(e);
    return go_on;
}

static bool has_work(const engine *e)
{
    return e->running.first != NULL || e->waiting.first != NULL || kv_work(e->kv, 0);
}

static bool queue_has_classification(const sequence_queue *q)
{
    for (const sequence *s = q->first; s != NULL; s = s->next) {
        if (s->n_labels > 0)
            return true;
    }
    return false;
}

/* In turn; but a waiting classification goes first, unless it did so the last time too. */
static engine *choose(const conductor *c, const engine *last, bool *was_urgent)
{
    for (engine *e = c->engines; e != NULL && !*was_urgent; e = e->next) {
        if (queue_has_classification(&e->running) || queue_has_classification(&e->waiting)) {
            *was_urgent = true;
            return e;
        }
    }
    *was_urgent = false;
    engine *start = last != NULL && last->next != NULL ? last->next : c->engines;
    engine *e = start;
    while (e != NULL && !has_work(e)) {
        e = e->next != NULL ? e->next : c->engines;
        if (e == start)
            return NULL;
    }
    return e;
}

static void end_all(conductor *c)
{
    pthread_mutex_lock(&c->lock);
    for (engine *e = c->engines; e != NULL; e = e->next)
        exchange(e);
    pthread_mutex_unlock(&c->lock);
    for (engine *e = c->engines; e != NULL; e = e->next) {
        for (sequence *s = e->waiting.first; s != NULL; s = s->next)
            atomic_store(&s->cancelled, true);
        for (sequence *s = e->running.first; s != NULL; s = s->next)
            atomic_store(&s->cancelled, true);
        engine_drop_cancelled(e);
    }
}

static void *run_loop(void *context)
{
    conductor *c = context;
    engine *last = NULL;
    bool was_urgent = false, idle = false;
    while (look_around(c, idle)) {
        double chosen_ms = clock_ms();
        engine *e = choose(c, last, &was_urgent);
        idle = e == NULL || !engine_run_step(e, c->threads, chosen_ms, e != last);
        if (e != NULL)
            last = e;
    }
    end_all(c);
    return NULL;
}

/* ---- lifecycle --------------------------------------------------------------------------------
 */

error_code conductor_create(conductor **out, int n_threads, failure *fail)
{
    conductor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a conductor");
    error_code code = team_create(&c->threads, n_threads, fail);
    if (code != OK) {
        free(c);
        return code;
    }
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    *out = c;
    return OK;
}

error_code conductor_start(conductor *c, failure *fail)
{
    for (engine *e = c->engines; e != NULL; e = e->next)
        engine_measure_step_cost(e, c->threads, MEASURE_BUDGET_MS);
    if (pthread_create(&c->thread, NULL, run_loop, c) != 0)
        return failure_set(fail, ERR_MEMORY, "cannot start the conductor's thread");
    c->started = true;
    return OK;
}

void conductor_destroy(conductor *c)
{
    if (c == NULL)
        return;
    if (c->started) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_signal(&c->changed);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
    }
    while (c->engines != NULL) {
        engine *e = c->engines;
        c->engines = e->next;
        engine_destroy(e);
    }
    team_destroy(c->threads);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}
