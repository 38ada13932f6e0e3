/*
 * admission.c: who gets a place, who is parked for whom, who has to go.
 *
 * A reply runs in one of `slots` places. Interactive ones are placed in the order they came, batch
 * ones behind them, parked ones before those that have not begun. A batch sequence that has waited
 * long is placed like an interactive one, and then keeps its place for as long.
 */
#include "base/clock.h"
#include "engine/drafter.h"

#define BATCH_PROMISE 64 /* tokens: a batch reply is promised memory for so many more at a time */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t count_running(const engine *e, bool urgent)
{
    size_t n = 0;
    for (const sequence *s = e->running.first; s != NULL; s = s->next)
        n += s->is_urgent == urgent ? 1 : 0;
    return n;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Takes the KV of a running or parked sequence: it waits again, with the tokens it has. */
static void take_kv(engine *e, sequence *s)
{
    bool running = false;
    for (const sequence *r = e->running.first; r != NULL && !running; r = r->next)
        running = r == s;
    queue_remove(running ? &e->running : &e->parked, s);
    if (s->given_up < s->slot->tokens.length)
        s->given_up = s->slot->tokens.length;
    kv_release(e->kv, s->slot);
    s->slot = NULL;
    drafter_forget(e->drafter, s);
    s->waiting_ms = clock_ms();
    queue_push(&e->waiting, s);
}

/* Promises memory, if `force` with the KV of those that give way. False: there is not room. */
static bool promise(sequence *s, size_t tokens, bool force)
{
    sequence *victim;
    memory_answer answer;
    while ((answer = memory_promise(s, tokens, force, &victim)) == MEMORY_TAKEN)
        take_kv(victim->engine, victim);
    return answer == MEMORY_PROMISED;
}

/* ---- places --------------------------------------------------------------------------------- */

static bool is_aged(const sequence *s, double now_ms)
{
    return s->priority == PRIORITY_BATCH && now_ms - s->waiting_ms >= s->engine->options.ageing_ms;
}

/* Lower goes first; among equals the one that came first. */
static int rank(const sequence *s, double now_ms)
{
    if (s->priority == PRIORITY_INTERACTIVE || is_aged(s, now_ms))
        return 0;
    return s->slot != NULL ? 1 : 2;
}

/* The first in the queue that is not urgent, or `best` where that goes before them. */
static sequence *find_first(const sequence_queue *q, sequence *best, double now_ms)
{
    for (sequence *s = q->first; s != NULL; s = s->next) {
        if (s->is_urgent)
            continue;
        int difference = best != NULL ? rank(s, now_ms) - rank(best, now_ms) : -1;
        if (difference < 0 || (difference == 0 && s->submitted_ms < best->submitted_ms))
            best = s;
    }
    return best;
}

/* The newest batch sequence that may be parked, or NULL. */
static sequence *find_parkable(const engine *e, double now_ms)
{
    sequence *newest = NULL;
    if (e->parked.length >= e->options.parked)
        return NULL;
    for (sequence *s = e->running.first; s != NULL; s = s->next) {
        if (s->priority == PRIORITY_BATCH && !s->is_urgent && now_ms >= s->keeps_ms &&
            (newest == NULL || s->submitted_ms > newest->submitted_ms))
            newest = s;
    }
    return newest;
}

static void park(engine *e, sequence *s, double now_ms)
{
    queue_remove(&e->running, s);
    s->waiting_ms = now_ms;
    s->progress.parked++;
    queue_push(&e->parked, s);
}

static size_t first_promise(const sequence *s)
{
    size_t most = sequence_most_tokens(s);
    return s->priority == PRIORITY_BATCH ? smaller(most, s->tokens.length + BATCH_PROMISE) : most;
}

/* From waiting to running: memory has been promised, and there are slots for all. */
static void take_in(engine *e, sequence *s)
{
    queue_remove(&e->waiting, s);
    /* Of one token nothing can be taken over. */
    size_t known = e->options.prefix_cache && !s->is_alone ? sequence_first_wanted(s) + 1 : 1;
    s->slot = kv_acquire(e->kv, s->tokens.ids, known);
    if (s->is_alone)
        kv_keep_alone(s->slot);
    queue_push(&e->running, s);
    memory_evict(e);
}

static bool has_place(const engine *e)
{
    return count_running(e, false) < e->options.slots;
}

/* False: it has to wait. */
static bool give_place(engine *e, sequence *s, double now_ms)
{
    bool interactive = s->priority == PRIORITY_INTERACTIVE;
    if (!has_place(e) && !(interactive && find_parkable(e, now_ms) != NULL))
        return false;
    if (s->slot == NULL && !promise(s, first_promise(s), interactive))
        return false;
    if (!has_place(e)) /* else who was to be parked has lost its KV */
        park(e, find_parkable(e, now_ms), now_ms);
    if (is_aged(s, now_ms))
        s->keeps_ms = now_ms + e->options.ageing_ms;
    if (s->slot == NULL) {
        take_in(e, s);
    } else {
        queue_remove(&e->parked, s);
        queue_push(&e->running, s);
    }
    return true;
}

void engine_admit_urgent(engine *e)
{
    size_t running = count_running(e, true);
    for (sequence *s = e->waiting.first, *next; s != NULL; s = next) {
        next = s->next;
        if (!s->is_urgent || running == URGENT_SLOTS || !promise(s, s->n_prompt, true))
            continue;
        take_in(e, s);
        running++;
    }
}

void engine_admit(engine *e)
{
    engine_admit_urgent(e);
    double now_ms = clock_ms();
    sequence *s;
    do {
        s = find_first(&e->waiting, find_first(&e->parked, NULL, now_ms), now_ms);
    } while (s != NULL && give_place(e, s, now_ms));
    /* Who comes first may lack memory that only parked ones can give back, by ending. */
    while ((s = find_first(&e->parked, NULL, now_ms)) != NULL && give_place(e, s, now_ms))
        ;
}

/* ---- promises ------------------------------------------------------------------------------- */

/* What the next step may write, with the longest draft. */
static bool needs_more(const sequence *s)
{
    return s->priority == PRIORITY_BATCH && !s->is_urgent &&
           smaller(s->tokens.length + 1 + LOOKUP_MAX_DRAFT, sequence_most_tokens(s)) > s->reserved;
}

static sequence *find_needy(const engine *e)
{
    for (sequence *s = e->running.first; s != NULL; s = s->next)
        if (needs_more(s))
            return s;
    return NULL;
}

/* Newer batch sequences give way to older ones; the newest waits until there is room again. */
void engine_extend_promises(engine *e)
{
    for (sequence *s; (s = find_needy(e)) != NULL;) {
        if (promise(s, first_promise(s), true))
            memory_evict(e);
        else
            take_kv(e, s);
    }
}

/* ---- leaving -------------------------------------------------------------------------------- */

void engine_leave(engine *e, sequence *s)
{
    if (s->slot != NULL)
        kv_release(e->kv, s->slot);
    drafter_forget(e->drafter, s);
    sequence_unreference(s);
}

static bool drop_if_ended(engine *e, sequence *s, double now_ms)
{
    bool late = s->end_ms > 0 && now_ms >= s->end_ms;
    if (s->step != NULL || (!late && !atomic_load(&s->cancelled)))
        return false;
    if (atomic_load(&s->cancelled))
        sequence_fail(s, ERR_CANCELLED, "the request was cancelled");
    else
        sequence_fail(s, ERR_TIMEOUT, "the request's deadline has passed");
    engine_leave(e, s);
    return true;
}

void engine_drop_ended(engine *e)
{
    sequence_queue *queues[] = {&e->waiting, &e->running, &e->parked};
    double now_ms = clock_ms();
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        sequence_queue old = *queues[i];
        *queues[i] = (sequence_queue){0};
        for (sequence *s; (s = queue_pop(&old)) != NULL;)
            if (!drop_if_ended(e, s, now_ms))
                queue_push(queues[i], s);
    }
}
