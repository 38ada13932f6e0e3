/* engine.c: making conductors and engines, handing sequences to them, what they say of themselves.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/drafter.h"

#define MEASURE_BUDGET_MS 400.0 /* per engine, at start-up */

/* ---- queues --------------------------------------------------------------------------------- */

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
    if (s != NULL)
        queue_remove(q, s);
    return s;
}

void queue_remove(sequence_queue *q, sequence *s)
{
    sequence *before = NULL;
    for (sequence *at = q->first; at != s; at = at->next)
        before = at;
    if (before != NULL)
        before->next = s->next;
    else
        q->first = s->next;
    if (q->last == s)
        q->last = before;
    q->length--;
    s->next = NULL;
}

/* ---- engines -------------------------------------------------------------------------------- */

engine_options engine_defaults(void)
{
    return (engine_options){.slots = 4,
                            .queue_limit = 256,
                            .prefill_chunk = 128,
                            .step_budget_ms = 100,
                            .ageing_ms = 10000,
                            .yields = true,
                            .prefix_cache = true,
                            .kv = KV_F16};
}

static error_code check_options(const engine_options *o, failure *fail)
{
    if (o->slots == 0 || o->slots > 1024)
        return failure_set(fail, ERR_CONFIG, "slots is %zu, must be 1 to 1024", o->slots);
    if (o->parked > 1024)
        return failure_set(fail, ERR_CONFIG, "parked is %zu, must be 0 to 1024", o->parked);
    if (o->prefill_chunk == 0 || o->prefill_chunk > 4096)
        return failure_set(fail, ERR_CONFIG, "prefill_chunk is %zu, must be 1 to 4096",
                           o->prefill_chunk);
    if (!(o->step_budget_ms > 0))
        return failure_set(fail, ERR_CONFIG, "step_budget_ms is %g, must be more than 0",
                           o->step_budget_ms);
    return OK;
}

void engine_destroy(engine *e)
{
    step_destroy(&e->main);
    step_destroy(&e->urgent);
    drafter_destroy(e->drafter);
    kv_destroy(e->kv);
    free(e->own_logits);
    free(e);
}

static error_code create_parts(engine *e, failure *fail)
{
    const engine_options *o = &e->options;
    size_t outputs = o->slots + URGENT_SLOTS + 2 * LOOKUP_MAX_DRAFT;
    error_code code = step_create(&e->main, e, o->prefill_chunk + outputs, outputs, fail);
    if (code == OK)
        code = step_create(&e->urgent, e, URGENT_ROWS, URGENT_SLOTS, fail);
    e->own_logits = malloc(e->model->config.n_vocab * sizeof *e->own_logits);
    if (code == OK && e->own_logits == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for an engine");
    if (code == OK)
        code = kv_create(&e->kv, &e->model->config, o->kv, o->context, o->prefill_chunk + outputs,
                         o->slots + o->parked + URGENT_SLOTS, fail);
    return code;
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
    pace_init(&e->pace, m);
    if (e->options.context == 0)
        e->options.context = m->config.context_length;
    if (e->options.parked == 0)
        e->options.parked = e->options.slots;
    e->fitting_tokens = SIZE_MAX;
    code = create_parts(e, fail);
    if (code != OK) {
        engine_destroy(e);
        return code;
    }
    e->next = c->engines;
    c->engines = e;
    *out = e;
    return OK;
}

error_code engine_set_draft_model(engine *e, const model *small, failure *fail)
{
    error_code code =
        drafter_create(&e->drafter, e, small, e->options.slots + e->options.parked, fail);
    for (engine *other = e->conductor->engines; code == OK && other != NULL; other = other->next)
        if (other->model == small && other->options.fixed_step_cost)
            drafter_fix_cost(e->drafter, other->options.step_ms);
    return code;
}

const model *engine_model(const engine *e)
{
    return e->model;
}

size_t engine_context(const engine *e)
{
    return e->options.context;
}

/* ---- measuring ------------------------------------------------------------------------------ */

typedef struct measured_size {
    size_t rows;
    int repeats;
    bool prompt; /* without logits */
} measured_size;

static void learn_size(engine *e, const measured_size *size, double ms)
{
    step_work w = {0};
    if (size->prompt)
        w = step_work_add_prompt(w, 0, size->rows);
    else
        step_cost_learn(&e->cost, size->rows, ms);
    w.rows = size->rows;
    if (size->prompt)
        e->measured.prefill_row_ms = ms / (double)size->rows;
    /* Those in between are limited neither by bytes nor by rows alone. */
    if (size->prompt || size->rows == 1)
        pace_learn(&e->pace, &w, ms);
}

/* False when the time is up. */
static bool measure_size(engine *e, team *threads, kv_slot *slot, const measured_size *size,
                         double end_ms, bool learn)
{
    int32_t token = 0;
    kv_commit(e->kv, slot, size->rows);
    for (size_t r = 0; r < size->rows; r++)
        e->main.rows[r] = (forward_row){token, (uint32_t)r, &slot->view,
                                        size->prompt ? WANT_NOTHING : WANT_LOGITS};
    for (int k = 0; k < size->repeats; k++) {
        double before = clock_ms();
        if (before > end_ms)
            return false;
        forward_step(e->main.forward, threads, e->main.rows, size->rows);
        if (learn)
            learn_size(e, size, clock_ms() - before);
    }
    return true;
}

void engine_measure_step_cost(engine *e, team *threads, double budget_ms)
{
    static const measured_size sizes[] = {{1, 1, false}, /* warms up */
                                          {16, 1, true}, {1, 3, false},
                                          {2, 3, false}, {4, 3, false},
                                          {8, 3, false}, {LOOKUP_MAX_DRAFT + 1, 3, false}};
    double end_ms = clock_ms() + budget_ms;
    int32_t token = 0;
    kv_slot *slot = kv_acquire(e->kv, &token, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].rows <= e->main.max_outputs && sizes[i].rows <= slot->tokens.capacity &&
            !measure_size(e, threads, slot, &sizes[i], end_ms, i > 0))
            break;
    }
    kv_release(e->kv, slot);
    memcpy(e->measured.step_ms, e->cost.ms, sizeof e->measured.step_ms);
    e->measured.prefill_rows = sizes[1].rows;
}

const engine_costs *engine_measured(const engine *e)
{
    return &e->measured;
}

/* ---- status --------------------------------------------------------------------------------- */

/* Under the lock; with what has arrived since the last step. */
static void read_status(const engine *e, engine_status *out)
{
    *out = e->status;
    out->slots = e->options.slots;
    out->waiting += e->arrivals.length;
    double before = (double)(out->waiting + out->parked + 1);
    out->retry_after_s = out->reply_ms * before / (double)e->options.slots / 1000;
}

void engine_read_status(engine *e, engine_status *out)
{
    pthread_mutex_lock(&e->conductor->lock);
    read_status(e, out);
    pthread_mutex_unlock(&e->conductor->lock);
}

/* ---- submitting ----------------------------------------------------------------------------- */

static error_code refuse_full(const engine_status *status, failure *fail)
{
    failure_set(fail, ERR_BUSY, "%zu requests are waiting already, try again in %.0f s",
                status->waiting, status->retry_after_s > 1 ? ceil(status->retry_after_s) : 1.0);
    failure_retry_after(fail, status->retry_after_s);
    return ERR_BUSY;
}

error_code engine_submit(engine *e, const sequence_request *request, sequence **out, failure *fail)
{
    conductor *c = e->conductor;
    sequence *s;
    error_code code = sequence_create(&s, e, request, fail);
    if (code != OK)
        return code;
    pthread_mutex_lock(&c->lock);
    engine_status status;
    read_status(e, &status);
    bool stopping = c->stop, full = status.waiting >= e->options.queue_limit + e->options.slots;
    if (!stopping && !full) {
        atomic_fetch_add(&s->references, 1);
        queue_push(&e->arrivals, s);
        c->look = true;
        if (s->is_urgent)
            atomic_store(&c->pause, true);
        pthread_cond_signal(&c->changed);
    }
    pthread_mutex_unlock(&c->lock);
    if (stopping || full)
        sequence_unreference(s);
    if (stopping)
        return failure_set(fail, ERR_CANCELLED, "the engine is stopping");
    if (full)
        return refuse_full(&status, fail);
    *out = s;
    return OK;
}

/* ---- lifecycle ------------------------------------------------------------------------------ */

error_code conductor_create(conductor **out, int n_threads, failure *fail)
{
    conductor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a conductor");
    error_code code = team_create(&c->threads, n_threads, fail);
    if (code == OK)
        code = masker_create(&c->masker, fail);
    if (code != OK) {
        team_destroy(c->threads);
        free(c);
        return code;
    }
    atomic_init(&c->pause, false);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    *out = c;
    return OK;
}

void conductor_limit_memory(conductor *c, size_t bytes)
{
    c->memory_limit = bytes;
}

static void learn_step_cost(engine *e)
{
    const engine_options *o = &e->options;
    if (o->step_ms[1] == 0) {
        engine_measure_step_cost(e, e->conductor->threads, MEASURE_BUDGET_MS);
        return;
    }
    const measured_size prompt = {o->prefill_rows > 0 ? o->prefill_rows : ENGINE_KNOWN_PREFILL, 1,
                                  true};
    learn_size(e, &prompt, o->prefill_row_ms * (double)prompt.rows);
    for (size_t n = 1; n <= ENGINE_STEP_ROWS; n++)
        if (o->step_ms[n] > 0)
            learn_size(e, &(measured_size){n, 1, false}, o->step_ms[n]);
    e->cost.fixed = o->fixed_step_cost;
}

error_code conductor_start(conductor *c, failure *fail)
{
    error_code code = memory_plan(c, fail);
    if (code != OK)
        return code;
    for (engine *e = c->engines; e != NULL; e = e->next)
        learn_step_cost(e);
    if (pthread_create(&c->thread, NULL, conductor_run, c) != 0)
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
    masker_destroy(c->masker);
    team_destroy(c->threads);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}
