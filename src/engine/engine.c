/* engine.c: making conductors and engines, handing sequences to them, what they say of themselves.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/drafter.h"

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

static void engine_destroy(engine *e)
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
    size_t outputs = o->slots + URGENT_SLOTS + (size_t)2 * LOOKUP_MAX_DRAFT;
    error_code code = step_create(&e->main, e, o->prefill_chunk + outputs, outputs, fail);
    if (code == OK)
        code = step_create(&e->urgent, e, URGENT_ROWS, URGENT_SLOTS, fail);
    e->own_logits = reallocarray(NULL, e->model->config.n_vocab, sizeof *e->own_logits);
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

/* Makes the conductor look at its engines again. */
static void wake(engine *e)
{
    conductor *c = e->conductor;
    pthread_mutex_lock(&c->lock);
    c->look = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void sequence_cancel(sequence *s)
{
    atomic_store(&s->cancelled, true);
    wake(s->engine);
}

void sequence_release(sequence *s)
{
    pthread_mutex_lock(&s->wake_lock);
    s->wake = NULL;
    pthread_mutex_unlock(&s->wake_lock);
    sequence_cancel(s);
    sequence_unreference(s);
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

error_code conductor_start(conductor *c, failure *fail)
{
    error_code code = memory_plan(c, fail);
    if (code != OK)
        return code;
    for (engine *e = c->engines; e != NULL; e = e->next)
        engine_learn_step_cost(e);
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
