/* remote_pool.c: a model's replicas: which of them has a request, and what is done when it fails.
 */
#include <math.h>

#include "backend/remote.h"

#define QUEUE_LOOK_MS 5.0   /* while requests wait for a replica */
#define RETRY_FIRST_MS 20.0 /* twice as long each time, and a random part of it */
#define ROUND_MS 10.0       /* before those that were tried are tried again, likewise */
#define HEDGE_PART 0.95     /* of delays to the first byte, those that come before it */
#define HEDGE_SHARE 0.1     /* of requests, those that are sent twice at most */
#define HEDGE_CREDIT 10.0

/* ---- waiting --------------------------------------------------------------------------------- */

/* Those that came before others stay before them, whatever was tried meanwhile. */
static void wait_again(remote_call *c)
{
    remote_call **at = &c->backend->waiting;
    while (*at != NULL && (*at)->submitted_ms <= c->submitted_ms)
        at = &(*at)->next;
    c->next = *at;
    *at = c;
    atomic_fetch_add(&c->backend->n_waiting, 1);
}

/* False: who asked has some of the answer already. */
static bool forget_answer(remote_call *c)
{
    pthread_mutex_lock(&c->lock);
    bool is_ours = !c->was_read;
    if (is_ours) {
        event_stream_free(&c->events);
        event_stream_init(&c->events);
        buffer_clear(&c->text);
        score_list_clear(&c->scores);
        c->is_whole = c->has_text = c->has_usage = false;
        c->n_told = 0;
        c->fault = (failure){.code = OK};
        c->part = REMOTE_TEXT;
        c->status = (reply_status){.state = WORK_RUNNING};
        remote_probe_clear(c->probe);
    }
    pthread_mutex_unlock(&c->lock);
    return is_ours;
}

void remote_pools_take(remote_backend *b, remote_call *c, double now_ms)
{
    for (size_t i = 0; i < N_MANNERS; i++)
        if (b->pools[i].replicas != NULL)
            c->places[i] = pool_place_of(b->pools[i].replicas, &c->prefix);
    b->hedge_credit = fmin(b->hedge_credit + HEDGE_SHARE, HEDGE_CREDIT);
    c->wait_end_ms = now_ms + b->setting.wait_ms;
    c->retries = b->setting.retries;
    c->hedge_tokens = b->setting.hedge_tokens;
    wait_again(c);
}

/* ---- going to a replica ---------------------------------------------------------------------- */

/* `presses`: of those that are passed by for a refusal. */
static bool choose(remote_call *c, size_t manner, bool presses, double now_ms, size_t *slot)
{
    pool *p = c->backend->pools[manner].replicas;
    const pool_tried *tried = &c->tried[manner];
    if (p == NULL || p->n == 0)
        return false;
    *slot = presses ? pool_choose_refused(p, tried, now_ms)
                    : pool_choose(p, &c->places[manner], tried, now_ms);
    return *slot != POOL_NONE;
}

/* The manner that the plan wants first; the text is the same. */
static remote_pool *choose_any(remote_call *c, bool presses, double now_ms, size_t *slot)
{
    size_t first = c->wants_lookup ? MANNER_LOOKUP : MANNER_PLAIN;
    for (size_t i = 0; i < N_MANNERS; i++)
        if (choose(c, (first + i) % N_MANNERS, presses, now_ms, slot))
            return &c->backend->pools[(first + i) % N_MANNERS];
    return NULL;
}

/* Nowhere to go now: after a moment, or when one has room, all may be tried again. */
static void begin_round(remote_call *c, double now_ms)
{
    bool has_tried = false;
    for (size_t i = 0; i < N_MANNERS; i++) {
        has_tried |= c->tried[i].n > 0;
        c->tried[i].n = 0;
    }
    if (has_tried)
        c->round_ms =
            now_ms + ROUND_MS * (0.5 + pool_draw(c->backend->pools[MANNER_PLAIN].replicas));
}

/* Why a call that waits waits no more; OK: it waits. */
static void judge_waiting(const remote_call *c, double now_ms, failure *out)
{
    out->code = OK;
    if (atomic_load(&c->cancelled))
        failure_set(out, ERR_CANCELLED, "cancelled");
    else if (c->end_ms > 0 && now_ms >= c->end_ms)
        failure_set(out, ERR_TIMEOUT, "the request's deadline has passed");
    else if (now_ms < c->wait_end_ms)
        return;
    else if (c->last.code != OK)
        *out = c->last;
    else {
        failure_set(out, ERR_BUSY, "no server of model '%s' had room within %u ms",
                    c->backend->base.name, c->backend->setting.wait_ms);
        failure_retry_after(out, 1);
    }
}

/* When its time is up. */
static double due_ms(const remote_attempt *a)
{
    double end_ms = remote_attempt_end_ms(a);
    return a->call->end_ms > 0 ? fmin(end_ms, a->call->end_ms) : end_ms;
}

/* When it is to be sent to another replica, too. */
static double hedge_ms(const remote_call *c, const remote_attempt *a)
{
    remote_backend *b = c->backend;
    bool is_short = c->max_tokens > 0 && c->max_tokens <= c->hedge_tokens;
    if (!is_short || a->first_ms > 0 || c->attempts[1] != NULL)
        return INFINITY;
    remote_house_lock(b->house);
    double after_ms = b->hedge_credit < 1
                          ? INFINITY
                          : pool_delay_quantile(&a->pool->replicas->delays, HEDGE_PART);
    remote_house_unlock(b->house);
    return a->began_ms + after_ms;
}

/* False: it has ended again, and `fail` says why. */
static bool send(remote_attempt *a, double now_ms, failure *fail)
{
    remote_call *c = a->call;
    if (remote_attempt_send(a, fail) != OK) {
        remote_attempt_end(a, POOL_CANCELLED, now_ms);
        return false;
    }
    for (size_t i = 0; i < MOST_ATTEMPTS; i++)
        if (c->attempts[i] != NULL)
            remote_lane_look_by(c->lane, fmin(due_ms(c->attempts[i]), hedge_ms(c, c->attempts[i])));
    return true;
}

void remote_pools_send(remote_lane *l, double now_ms)
{
    failure why;
    for (remote_attempt *a = remote_lane_take_chosen(l), *next; a != NULL; a = next) {
        remote_call *c = a->call;
        next = a->next;
        if (!send(a, now_ms, &why))
            remote_call_finish(c, &why);
    }
}

/* Whether there is room in the queue. */
static bool may_wait(remote_call *c, failure *why)
{
    const remote_backend *b = c->backend;
    bool is_full =
        !c->has_waited && b->setting.queue > 0 && atomic_load(&b->n_waiting) > b->setting.queue;
    c->has_waited = true;
    if (!is_full)
        return true;
    failure_set(why, ERR_BUSY, "the queue for the servers of model '%s' is full (%u requests)",
                b->base.name, b->setting.queue);
    failure_retry_after(why, 1);
    return false;
}

/* A request that is new asks those that refused others, too, before it waits: that takes less time
 * than waiting, and one of them may have room. Not before others that wait. */
static remote_pool *choose_now(remote_call *c, bool is_next, double now_ms, size_t *slot)
{
    remote_pool *p = choose_any(c, false, now_ms, slot);
    return p == NULL && is_next && !c->has_waited ? choose_any(c, true, now_ms, slot) : p;
}

/* True: it waits no more. `is_next`: nobody waits for room before it. */
static bool move_on(remote_lane *l, remote_call *c, bool is_next, double now_ms)
{
    failure why;
    size_t slot;
    judge_waiting(c, now_ms, &why);
    if (why.code != OK) {
        remote_call_finish(c, &why);
        return true;
    }
    if (now_ms < c->not_before_ms || (now_ms < c->round_ms && !c->backend->has_room))
        return false;
    remote_pool *p = choose_now(c, is_next, now_ms, &slot);
    if (p == NULL && may_wait(c, &why)) {
        begin_round(c, now_ms);
        return false;
    }
    remote_attempt *a = p != NULL ? remote_attempt_make(c, p, slot, now_ms) : NULL;
    if (p != NULL && a == NULL)
        failure_set(&why, ERR_MEMORY, "no memory for a request");
    if (a != NULL)
        remote_lane_choose(c->lane, a, l);
    else
        remote_call_finish(c, &why);
    return true;
}

void remote_pools_dispatch(remote_lane *l, remote_backend *b, double now_ms)
{
    bool is_next = true;
    for (remote_call **at = &b->waiting; *at != NULL;) {
        remote_call *c = *at, *next = c->next;
        if (move_on(l, c, is_next, now_ms)) {
            *at = next;
            atomic_fetch_sub(&b->n_waiting, 1);
        } else {
            is_next = is_next && !c->has_waited;
            at = &c->next;
        }
    }
    b->has_room = false;
    if (b->waiting != NULL)
        remote_lane_look_by(l, now_ms + QUEUE_LOOK_MS);
}

/* ---- after an attempt ------------------------------------------------------------------------ */

static void drop_attempts(remote_call *c, const remote_attempt *but, double now_ms)
{
    for (size_t i = MOST_ATTEMPTS; i-- > 0;)
        if (c->attempts[i] != NULL && c->attempts[i] != but)
            remote_attempt_end(c->attempts[i], POOL_CANCELLED, now_ms);
}

static void note_tried(remote_call *c, const remote_pool *p, size_t slot)
{
    pool_tried *t = &c->tried[p - c->backend->pools];
    if (t->n < POOL_MOST_TRIED)
        t->slots[t->n++] = slot;
}

static bool may_retry(const remote_call *c, pool_end_kind kind)
{
    bool is_single = c->backend->config->remote.replicas.n == 0;
    return !is_single && !c->is_whole && kind != POOL_ANSWERED && kind != POOL_CANCELLED &&
           c->n_failed <= c->retries;
}

/* How long it was at a server that had room for it: that was no waiting for one. */
static double served_ms(const remote_attempt *a, pool_end_kind kind, double now_ms)
{
    bool had_room = kind != POOL_REFUSED && a->http != NULL && http_call_has_connected(a->http);
    return had_room ? now_ms - a->began_ms : 0;
}

/* After one that has failed: it waits for another replica, some time where this one is to blame. */
static void try_again(remote_call *c, remote_pool *p, pool_end_kind kind, double now_ms)
{
    remote_house *h = c->backend->house;
    remote_house_lock(h);
    if (kind == POOL_FAILED)
        c->not_before_ms =
            now_ms + RETRY_FIRST_MS * exp2((double)c->n_failed - 1) * pool_draw(p->replicas);
    wait_again(c);
    remote_house_unlock(h);
}

void remote_pools_settle(remote_attempt *a, pool_end_kind kind, const failure *why, double now_ms)
{
    remote_call *c = a->call;
    remote_pool *p = a->pool;
    bool was_read_from = c->winner == a, has_won = was_read_from || c->winner == NULL;
    size_t slot = a->slot;
    double was_served_ms = served_ms(a, kind, now_ms);
    if (why->code == OK || kind == POOL_ANSWERED || (c->has_text && has_won))
        drop_attempts(c, a, now_ms);
    remote_attempt_end(a, kind, now_ms);
    if (c->attempts[0] != NULL) { /* the other one goes on, from the beginning */
        if (was_read_from)
            forget_answer(c);
        note_tried(c, p, slot);
        return;
    }
    c->n_failed += kind == POOL_FAILED;
    if (why->code == OK || !may_retry(c, kind) || !forget_answer(c)) {
        remote_call_finish(c, why);
        return;
    }
    c->last = *why;
    c->wait_end_ms += was_served_ms;
    note_tried(c, p, slot);
    try_again(c, p, kind, now_ms);
}

/* ---- hedging --------------------------------------------------------------------------------- */

/* At another replica, too; NULL: there is none with room. */
static remote_attempt *choose_second(remote_call *c, double now_ms)
{
    remote_backend *b = c->backend;
    size_t slot;
    remote_house_lock(b->house);
    remote_pool *p = choose_any(c, false, now_ms, &slot);
    remote_attempt *a = p != NULL ? remote_attempt_make(c, p, slot, now_ms) : NULL;
    if (a != NULL) {
        b->hedge_credit--;
        p->replicas->replicas[slot].history->hedged++;
    }
    remote_house_unlock(b->house);
    return a;
}

/* Returns when it might be time. */
static double hedge(const remote_attempt *a, double now_ms)
{
    remote_call *c = a->call;
    failure why;
    double due_ms = hedge_ms(c, a);
    if (now_ms < due_ms)
        return due_ms;
    note_tried(c, a->pool, a->slot);
    remote_attempt *second = choose_second(c, now_ms);
    if (second == NULL || !send(second, now_ms, &why))
        return now_ms + QUEUE_LOOK_MS;
    return INFINITY;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Health checks found that nobody answers there. */
static bool is_at_unwell(const remote_attempt *a)
{
    remote_house *h = a->call->backend->house;
    remote_house_lock(h);
    bool is_unwell = a->pool->replicas->replicas[a->slot].unwell >= POOL_UNWELL;
    remote_house_unlock(h);
    return is_unwell;
}

/* True: the attempt is over, as `why` and `kind` say. */
static bool is_over(const remote_attempt *a, double now_ms, pool_end_kind *kind, failure *why)
{
    const remote_call *c = a->call;
    *kind = POOL_CANCELLED;
    if (atomic_load(&c->cancelled))
        failure_set(why, ERR_CANCELLED, "cancelled");
    else if (c->end_ms > 0 && now_ms >= c->end_ms)
        failure_set(why, ERR_TIMEOUT, "the request's deadline has passed");
    else if (a->first_ms == 0 && is_at_unwell(a)) {
        *kind = POOL_GONE;
        failure_set(why, ERR_TIMEOUT, "a server of model '%s' does not answer",
                    c->backend->base.name);
    } else if (!remote_attempt_has_lost(a, why)) {
        *kind = POOL_FAILED;
        return remote_attempt_is_late(a, now_ms, why);
    }
    return true;
}

double remote_pools_look(remote_lane *l, double now_ms)
{
    double next_ms = INFINITY;
    for (remote_attempt *a = remote_lane_first(l); a != NULL; a = remote_lane_next(l)) {
        pool_end_kind kind;
        failure why;
        if (is_over(a, now_ms, &kind, &why)) {
            remote_pools_settle(a, kind, &why, now_ms);
            continue;
        }
        next_ms = fmin(next_ms, fmin(due_ms(a), hedge(a, now_ms)));
    }
    return next_ms;
}
