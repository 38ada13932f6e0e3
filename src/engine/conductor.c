/* conductor.c: the thread that owns every step. It is worker 0 of the one team that all models
 * share, because all share one memory bus; it shares time among the engines, and sleeps when none
 * has work. Urgent work that arrives while a step runs makes the step pause. */
#include "engine/conductor.h"

#include "base/clock.h"
#include "engine/drafter.h"

/* Urgent work may take as much time as the steps it interrupts, averaged over this: a stream of
 * probes slows replies to half their pace, it does not stop them. */
#define URGENT_CREDIT_MS 1000.0

/* ---- arrivals and state --------------------------------------------------------------------- */

/* Under the lock: takes in arrivals, shows the state. */
static void exchange(engine *e)
{
    for (sequence *s; (s = queue_pop(&e->arrivals)) != NULL;)
        queue_push(&e->waiting, s);
    e->status.running = e->running.length;
    e->status.waiting = e->waiting.length;
    e->status.parked = e->parked.length;
    e->status.kv_bytes = kv_read_usage(e->kv).committed_bytes;
    e->status.kv_limit_bytes = e->conductor->kv_limit;
    e->status.reply_ms = e->service_ms;
    e->status.switch_ms = e->switch_ms;
    e->status.pauses = e->pauses;
    e->status.reply_tokens = e->reply_tokens;
    e->status.read_bytes = e->read_bytes;
    e->status.drafting_ms = e->drafting_ms;
    e->status.prefill_row_ms = e->pace.row_ms;
    for (size_t n = 1; n <= STEP_COST_ROWS; n++)
        e->status.step_ms[n] = e->cost.ms[n];
}

/* Under the lock. Who arrives from now on makes the step pause again. */
static void exchange_all(conductor *c)
{
    atomic_store(&c->pause, false);
    for (engine *e = c->engines; e != NULL; e = e->next)
        exchange(e);
}

/* Waits until there may be work; false when the conductor shall end. */
static bool look_around(conductor *c, bool idle)
{
    pthread_mutex_lock(&c->lock);
    if (idle)
        exchange_all(c);
    while (idle && !c->look && !c->stop)
        pthread_cond_wait(&c->changed, &c->lock);
    c->look = false;
    exchange_all(c);
    bool go_on = !c->stop;
    pthread_mutex_unlock(&c->lock);
    for (engine *e = c->engines; e != NULL; e = e->next)
        engine_drop_ended(e);
    return go_on;
}

static bool queue_has_urgent(const sequence_queue *q)
{
    for (const sequence *s = q->first; s != NULL; s = s->next) {
        if (s->is_urgent)
            return true;
    }
    return false;
}

static bool has_urgent(const engine *e)
{
    return queue_has_urgent(&e->running) || queue_has_urgent(&e->waiting);
}

/* ---- urgent work ---------------------------------------------------------------------------- */

/* One step of an engine's urgent work; false: it has none that can be computed now. */
static bool run_urgent_step(engine *e, team *threads)
{
    engine_admit_urgent(e);
    bool more = kv_work(e->kv, KV_WORK_MS);
    step_compose_urgent(&e->urgent);
    if (e->urgent.n_rows == 0)
        return more;
    step_begin(&e->urgent);
    double start_ms = clock_ms();
    forward_run(e->urgent.forward, threads, NULL);
    step_end(&e->urgent, clock_ms() - start_ms);
    return true;
}

/* In a pause of a step. */
static void serve_urgent(conductor *c)
{
    double start_ms = clock_ms(), end_ms = start_ms + c->urgent_credit_ms;
    pthread_mutex_lock(&c->lock);
    exchange_all(c);
    pthread_mutex_unlock(&c->lock);
    for (engine *e = c->engines; e != NULL; e = e->next)
        while (clock_ms() < end_ms && has_urgent(e) && run_urgent_step(e, c->threads))
            ;
    c->urgent_credit_ms -= clock_ms() - start_ms;
}

/* Runs a forward pass of the engine that has begun, with pauses for urgent work; returns what it
 * took without them. */
static double compute(engine *e, forward *f)
{
    conductor *c = e->conductor;
    const atomic_bool *pause = e->options.yields ? &c->pause : NULL;
    double ran_ms = 0;
    for (;;) {
        double start_ms = clock_ms();
        bool complete = forward_run(f, c->threads, pause);
        double ms = clock_ms() - start_ms;
        ran_ms += ms;
        c->urgent_credit_ms += ms;
        if (c->urgent_credit_ms > URGENT_CREDIT_MS)
            c->urgent_credit_ms = URGENT_CREDIT_MS;
        if (complete)
            return ran_ms;
        e->pauses++;
        serve_urgent(c);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* That wait for the engine's next step; 0: there is no work. */
static size_t count_sequences(const engine *e)
{
    size_t n = e->running.length + e->waiting.length + e->parked.length;
    return n == 0 && kv_work(e->kv, 0) ? 1 : n;
}

/* The time from the choice to the step's start counts for who came to its first step by it. */
static void note_switch(engine *e, double chosen_ms)
{
    e->switch_ms = clock_ms() - chosen_ms;
    for (sequence *s = e->running.first; s != NULL; s = s->next)
        if (s->step != NULL && s->progress.prefill_ms == 0 && s->progress.switch_ms == 0)
            s->progress.switch_ms = e->switch_ms;
}

/* The step counts as its engine's time, and what its draft model took before it; what urgent work
 * took in its pauses does not. */
static void note_turn(const conductor *c, engine *e, double ran_ms)
{
    double ms = e->drafting.ms + ran_ms;
    turn_taken(&e->turn, ms);
    for (engine *o = c->engines; o != NULL; o = o->next)
        if (o != e)
            turn_passed(&o->turn, &e->turn, ms);
}

/* One step of the engine. False: there was nothing to do. */
static bool serve(conductor *c, engine *e, bool switched)
{
    bool more = kv_work(e->kv, KV_WORK_MS);
    double chosen_ms = clock_ms();
    engine_admit(e);
    engine_extend_promises(e);
    if (e->drafter != NULL)
        drafter_run(e->drafter, compute);
    step_compose(&e->main);
    if (e->main.n_rows == 0)
        return more || e->running.first != NULL;
    if (switched)
        note_switch(e, chosen_ms + e->drafting.ms);
    step_begin(&e->main);
    double ran_ms = compute(e, e->main.forward);
    step_end(&e->main, ran_ms);
    note_turn(c, e, ran_ms);
    return true;
}

typedef struct turn {
    engine *last;
    bool was_urgent;
} turn;

static bool take_turn(conductor *c, turn *t, engine *e)
{
    if (!serve(c, e, e != t->last))
        return false;
    t->last = e;
    return true;
}

/* Waiting urgent work goes first, unless one did so the last time too. */
static bool serve_urgent_engine(conductor *c, turn *t)
{
    for (engine *e = c->engines; e != NULL && !t->was_urgent; e = e->next) {
        if (has_urgent(e) && take_turn(c, t, e)) {
            t->was_urgent = true;
            return true;
        }
    }
    t->was_urgent = false;
    return false;
}

/* The one whose turn it is, of those that were not passed over; NULL: none has work. */
static engine *find_next(const conductor *c)
{
    engine *best = NULL;
    for (engine *e = c->engines; e != NULL; e = e->next)
        if (e->turn.sequences > 0 && !e->passed_over &&
            (best == NULL || turn_goes_before(&e->turn, &best->turn)))
            best = e;
    return best;
}

/* One step of the next engine that has work; false: none has. */
static bool serve_next(conductor *c, turn *t)
{
    for (engine *e = c->engines; e != NULL; e = e->next) {
        e->turn.sequences = count_sequences(e);
        e->turn.budget_ms = e->options.step_budget_ms;
        e->passed_over = false;
    }
    if (serve_urgent_engine(c, t))
        return true;
    for (engine *e; (e = find_next(c)) != NULL;) {
        if (take_turn(c, t, e))
            return true;
        e->passed_over = true;
    }
    return false;
}

static void end_all(conductor *c)
{
    pthread_mutex_lock(&c->lock);
    exchange_all(c);
    pthread_mutex_unlock(&c->lock);
    for (engine *e = c->engines; e != NULL; e = e->next) {
        const sequence_queue *queues[] = {&e->waiting, &e->running, &e->parked};
        for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++)
            for (sequence *s = queues[i]->first; s != NULL; s = s->next)
                atomic_store(&s->cancelled, true);
        engine_drop_ended(e);
    }
}

void *conductor_run(void *context)
{
    conductor *c = context;
    turn t = {NULL, false};
    bool idle = false;
    c->urgent_credit_ms = URGENT_CREDIT_MS;
    while (look_around(c, idle))
        idle = !serve_next(c, &t);
    end_all(c);
    return NULL;
}
