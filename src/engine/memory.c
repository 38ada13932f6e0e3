/*
 * memory.c: what of the memory for KV is promised to whom.
 *
 * Every sequence that has a slot is promised memory for the tokens it may come to hold (a batch
 * reply: for the next ones only). The promises and what finished sequences still hold never exceed
 * the limit together, so that writing KV within a promise needs no check.
 */
#include "engine/drafter.h"

/* ---- planning ------------------------------------------------------------------------------- */

static size_t fitting_tokens(const engine *e, size_t bytes)
{
    size_t low = 0, high = e->options.context;
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        if (kv_sequence_bytes(e->kv, middle) <= bytes)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

error_code memory_plan(conductor *c, failure *fail)
{
    size_t weights = 0;
    if (c->memory_limit == 0)
        return OK;
    for (engine *e = c->engines; e != NULL; e = e->next)
        weights += model_resident_bytes(e->model) + (e->drafter ? drafter_kv_bytes(e->drafter) : 0);
    if (weights >= c->memory_limit)
        return failure_set(fail, ERR_MEMORY,
                           "the weights take %.3g GB, the memory limit is %.3g GB: raise it or use "
                           "smaller models",
                           (double)weights / 1e9, (double)c->memory_limit / 1e9);
    c->kv_limit = c->memory_limit - weights;
    for (engine *e = c->engines; e != NULL; e = e->next)
        e->fitting_tokens = fitting_tokens(e, c->kv_limit);
    return OK;
}

/* ---- promises ------------------------------------------------------------------------------- */

/* What a resident sequence counts for: its slot may still hold more than it was promised, of the
 * sequence that had it before. */
static size_t claim(const sequence *s)
{
    const kv_cache *kv = s->engine->kv;
    size_t promised = kv_sequence_bytes(kv, s->reserved);
    size_t held = kv_sequence_bytes(kv, s->slot->committed);
    return promised > held ? promised : held;
}

typedef struct claims {
    size_t all;
    size_t yielding;  /* of it, of sequences that give way */
    sequence *newest; /* of those */
} claims;

/* Batch gives way to interactive, and among batch the newer to the older. */
static bool gives_way(const sequence *s, const sequence *to)
{
    if (s->priority != PRIORITY_BATCH || s->is_urgent || s->step != NULL)
        return false;
    return to->priority == PRIORITY_INTERACTIVE || to->is_urgent ||
           s->submitted_ms > to->submitted_ms;
}

static void add_claims(claims *sum, const sequence_queue *q, const sequence *of)
{
    for (sequence *s = q->first; s != NULL; s = s->next) {
        if (s == of)
            continue;
        size_t bytes = claim(s);
        sum->all += bytes;
        if (of == NULL || !gives_way(s, of))
            continue;
        sum->yielding += bytes;
        if (sum->newest == NULL || s->submitted_ms > sum->newest->submitted_ms)
            sum->newest = s;
    }
}

/* Of all others but `of` (NULL: of all). */
static claims read_claims(const conductor *c, const sequence *of)
{
    claims sum = {0};
    for (const engine *e = c->engines; e != NULL; e = e->next) {
        add_claims(&sum, &e->running, of);
        add_claims(&sum, &e->parked, of);
    }
    return sum;
}

memory_answer memory_promise(sequence *s, size_t tokens, bool force, sequence **victim)
{
    const engine *e = s->engine;
    const conductor *c = e->conductor;
    if (c->kv_limit > 0) {
        size_t wanted = kv_sequence_bytes(e->kv, tokens);
        claims others = read_claims(c, s);
        size_t least = force ? others.all - others.yielding : others.all;
        if (wanted > c->kv_limit || least > c->kv_limit - wanted)
            return MEMORY_FULL;
        if (others.all > c->kv_limit - wanted) {
            *victim = others.newest;
            return MEMORY_TAKEN;
        }
    }
    s->reserved = tokens;
    return MEMORY_PROMISED;
}

void memory_evict(engine *first)
{
    const conductor *c = first->conductor;
    if (c->kv_limit == 0)
        return;
    size_t taken = read_claims(c, NULL).all;
    for (const engine *e = c->engines; e != NULL; e = e->next)
        taken += kv_read_usage(e->kv).idle_bytes;
    if (taken <= c->kv_limit)
        return;
    size_t excess = taken - c->kv_limit, given = kv_evict(first->kv, excess);
    for (engine *e = c->engines; e != NULL && given < excess; e = e->next)
        given += kv_evict(e->kv, excess - given);
}
