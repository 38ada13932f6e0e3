/* pool.c: the replicas of one model. */
#include "backend/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

#define RECENT 128 /* requests of each that are remembered, half of them from before */
#define REFUSED_FIRST_MS 5.0
#define REFUSED_LONGEST_MS 1000.0
#define FIRST_SLOTS 4
#define REFUSALS 20 /* in a row; more are as many */

error_code pool_create(pool **out, const pool_setting *s, failure *fail)
{
    *out = aligned_array(1, sizeof **out);
    if (*out == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a pool");
    memset(*out, 0, sizeof **out);
    (*out)->setting = *s;
    return OK;
}

static void history_free(pool_history *h)
{
    if (h != NULL)
        free(h->name);
    free(h);
}

void pool_destroy(pool *p)
{
    for (size_t i = 0; p != NULL && i < p->n_slots; i++)
        history_free(p->replicas[i].history);
    if (p == NULL)
        return;
    pool_ring_free(&p->ring);
    free(p->replicas);
    free(p);
}

double pool_draw(pool *p)
{
    return random_uniform(p->setting.seed, 0, p->drawn++);
}

/* ---- replicas -------------------------------------------------------------------------------- */

/* For twice as many: one more at a time would leave as many gaps as there are replicas. */
static error_code make_room(pool *p, failure *fail)
{
    size_t most = p->most_slots > 0 ? 2 * p->most_slots : FIRST_SLOTS;
    pool_replica *longer = aligned_array(most, sizeof *longer);
    if (longer == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
    if (p->n_slots > 0)
        memcpy(longer, p->replicas, p->n_slots * sizeof *longer);
    free(p->replicas);
    p->replicas = longer;
    p->most_slots = most;
    return OK;
}

static error_code find_slot(pool *p, size_t *slot, failure *fail)
{
    for (*slot = 0; *slot < p->n_slots; ++*slot)
        if (!p->replicas[*slot].is_used)
            return OK;
    error_code code = p->n_slots == p->most_slots ? make_room(p, fail) : OK;
    if (code != OK)
        return code;
    p->replicas[p->n_slots++] = (pool_replica){.is_used = false};
    return OK;
}

static error_code make_history(const pool *p, const char *name, pool_history **out, failure *fail)
{
    *out = calloc(1, sizeof **out);
    if (*out != NULL && ((*out)->name = strdup(name)) != NULL) {
        pool_limit_init(&(*out)->limit, p->setting.limit);
        return OK;
    }
    history_free(*out);
    return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
}

static void note_limit(pool_replica *r)
{
    r->limit = (uint32_t)pool_limit_now(&r->history->limit);
}

error_code pool_add(pool *p, const char *name, bool is_new, double now_ms, size_t *slot,
                    failure *fail)
{
    pool_history *history;
    error_code code = make_history(p, name, &history, fail);
    if (code != OK)
        return code;
    code = find_slot(p, slot, fail);
    if (code == OK)
        code = pool_ring_add(&p->ring, name, *slot, fail);
    if (code != OK) {
        history_free(history);
        return code;
    }
    pool_replica *r = &p->replicas[*slot];
    *r = (pool_replica){
        .history = history, .is_used = true, .is_learning = !history->limit.is_fixed};
    note_limit(r);
    pool_breaker_init(&r->breaker, p->setting.slow_start_ms, is_new, now_ms);
    if (p->n > 0) /* as if it had been there: no rush to it */
        r->recent = (uint32_t)(p->recent / p->n);
    p->recent += r->recent;
    p->n++;
    return OK;
}

static void free_slot(pool *p, pool_replica *r)
{
    p->recent -= r->recent;
    history_free(r->history);
    *r = (pool_replica){.is_used = false};
}

void pool_remove(pool *p, size_t slot)
{
    pool_replica *r = &p->replicas[slot];
    pool_ring_remove(&p->ring, slot);
    r->is_leaving = true;
    p->n--;
    if (r->in_flight == 0)
        free_slot(p, r);
}

void pool_change(pool *p, size_t limit, double slow_start_ms)
{
    bool is_other = limit != p->setting.limit;
    p->setting.limit = limit;
    p->setting.slow_start_ms = slow_start_ms;
    for (size_t i = 0; i < p->n_slots; i++) {
        pool_replica *r = &p->replicas[i];
        if (!r->is_used)
            continue;
        r->breaker.slow_start_ms = (float)slow_start_ms;
        if (is_other) {
            pool_limit_init(&r->history->limit, limit);
            r->is_learning = limit == 0;
            note_limit(r);
        }
    }
}

size_t pool_find(const pool *p, const char *name)
{
    for (size_t i = 0; i < p->n_slots; i++)
        if (p->replicas[i].is_used && !p->replicas[i].is_leaving &&
            strcmp(p->replicas[i].history->name, name) == 0)
            return i;
    return POOL_NONE;
}

/* ---- what becomes of requests ---------------------------------------------------------------- */

size_t pool_begin(pool *p, size_t slot)
{
    pool_replica *r = &p->replicas[slot];
    pool_breaker_begin(&r->breaker);
    p->in_flight++;
    r->requests++;
    r->recent++;
    if (++p->recent >= RECENT * p->n) {
        p->recent = 0;
        for (size_t i = 0; i < p->n_slots; i++)
            p->recent += p->replicas[i].recent /= 2;
    }
    return ++r->in_flight;
}

static void note_delay(double *mean_ms, double ms)
{
    *mean_ms = *mean_ms == 0 ? ms : *mean_ms + (ms - *mean_ms) / 16;
}

/* Of those in flight with a request, the most: at its begin or before its end. */
static size_t most_with(const pool_replica *r, size_t began_with)
{
    return r->in_flight >= began_with ? r->in_flight + 1 : began_with;
}

static void answered(pool *p, pool_replica *r, size_t began_with, double delay_ms, size_t size,
                     double now_ms)
{
    if (r->breaker.state != BREAKER_CLOSED && p->n > 0) { /* no rush to make up for its absence */
        p->recent -= r->recent;
        r->recent = (uint32_t)(p->recent / p->n);
        p->recent += r->recent;
    }
    pool_breaker_succeed(&r->breaker, now_ms);
    r->refusals = 0;
    r->refused_until = 0;
    if (delay_ms <= 0)
        return;
    note_delay(&r->delay_ms, delay_ms);
    note_delay(&p->delay_ms, delay_ms);
    pool_delay_add(&p->delays, delay_ms);
    if (!r->is_learning)
        return;
    pool_limit_done(&r->history->limit, most_with(r, began_with), pool_limit_class(size), delay_ms);
    note_limit(r);
}

/* Longer each time: somebody else's requests may have it. */
static void refused(pool *p, pool_replica *r, size_t began_with, double now_ms)
{
    double wait_ms = fmin(REFUSED_FIRST_MS * exp2(r->refusals), REFUSED_LONGEST_MS);
    r->history->refused++;
    if (r->refusals < REFUSALS)
        r->refusals++;
    r->refused_until = now_ms + wait_ms * (0.5 + pool_draw(p));
    pool_limit_refused(&r->history->limit, most_with(r, began_with) - 1);
    note_limit(r);
    pool_breaker_forget(&r->breaker);
}

void pool_end(pool *p, size_t slot, pool_end_kind kind, size_t began_with, double delay_ms,
              size_t size, double now_ms)
{
    pool_replica *r = &p->replicas[slot];
    r->in_flight--;
    p->in_flight--;
    if (kind == POOL_ANSWERED)
        answered(p, r, began_with, delay_ms, size, now_ms);
    else if (kind == POOL_REFUSED)
        refused(p, r, began_with, now_ms);
    else if (kind == POOL_CANCELLED)
        pool_breaker_forget(&r->breaker);
    else {
        r->history->failed++;
        pool_breaker_fail(&r->breaker, kind == POOL_GONE, pool_draw(p), now_ms);
    }
    if (r->is_leaving && r->in_flight == 0)
        free_slot(p, r);
}

bool pool_check(pool *p, size_t slot, bool is_well, double now_ms)
{
    pool_replica *r = &p->replicas[slot];
    if (is_well) {
        r->unwell = 0;
        if (r->breaker.state == BREAKER_OPEN) /* a request may try it now */
            r->breaker.at_ms = now_ms;
        return false;
    }
    if (r->unwell < POOL_UNWELL)
        r->unwell++;
    if (r->unwell < POOL_UNWELL)
        return false;
    pool_breaker_fail(&r->breaker, true, pool_draw(p), now_ms);
    return true;
}
