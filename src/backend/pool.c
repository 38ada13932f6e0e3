/* pool.c: the replicas of one model. */
#include "backend/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/pool_hash.h"
#include "base/random.h"

_Static_assert(offsetof(pool_replica, limit) + offsetof(pool_limit, sum_ms) <=
                   POOL_LINES * ALIGNED_BYTES,
               "what a choice looks at is in the first lines");

#define CROWDED                                                                                    \
    1.25        /* times the pool's mean of requests in flight: no more while others have less */
#define HOT 0.1 /* times a replica's share of all: what many ask for */
#define SKEW_HOT 1.02
#define SKEW 1.06      /* times its mean of the latest requests, likewise … */
#define ROOM 16        /* of its limit, a part that it may have beyond that */
#define SPARSE 8       /* replicas for each request in flight */
#define SKEW_FREE 4    /* … once it has had so many more */
#define RECENT 128     /* requests of each that are remembered, half of them from before */
#define WALK 64        /* points of the ring that are looked at beyond the two */
#define PREFERENCE 1.5 /* the first of the two has it unless it costs so many times the second */
#define SECOND_HASH 0x5851F42D4C957F2Du
#define REFUSED_FIRST_MS 5.0
#define REFUSED_LONGEST_MS 1000.0
#define UNWELL 2 /* checks in a row that fail, and it counts as gone */

error_code pool_create(pool **out, const pool_setting *s, failure *fail)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a pool");
    (*out)->setting = *s;
    return OK;
}

void pool_destroy(pool *p)
{
    for (size_t i = 0; p != NULL && i < p->n_slots; i++)
        free(p->replicas[i].name);
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

static error_code find_slot(pool *p, size_t *slot, failure *fail)
{
    for (*slot = 0; *slot < p->n_slots; ++*slot)
        if (!p->replicas[*slot].is_used)
            return OK;
    pool_replica *longer = aligned_array(p->n_slots + 1, sizeof *longer);
    if (longer == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
    if (p->n_slots > 0)
        memcpy(longer, p->replicas, p->n_slots * sizeof *longer);
    free(p->replicas);
    p->replicas = longer;
    p->replicas[p->n_slots++] = (pool_replica){.name = NULL};
    return OK;
}

error_code pool_add(pool *p, const char *name, bool is_new, double now_ms, size_t *slot,
                    failure *fail)
{
    char *copy = strdup(name);
    error_code code =
        copy == NULL ? failure_set(fail, ERR_MEMORY, "no memory for one more replica") : OK;
    if (code == OK)
        code = find_slot(p, slot, fail);
    if (code == OK)
        code = pool_ring_add(&p->ring, name, *slot, fail);
    if (code != OK) {
        free(copy);
        return code;
    }
    pool_replica *r = &p->replicas[*slot];
    *r = (pool_replica){.name = copy, .is_used = true};
    pool_breaker_init(&r->breaker, p->setting.slow_start_ms, is_new, now_ms);
    pool_limit_init(&r->limit, p->setting.limit);
    r->recent = p->n > 0 ? p->recent / p->n : 0; /* as if it had been there: no rush to it */
    p->recent += r->recent;
    p->n++;
    return OK;
}

static void free_slot(pool *p, pool_replica *r)
{
    p->recent -= r->recent;
    free(r->name);
    *r = (pool_replica){.name = NULL};
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

size_t pool_find(const pool *p, const char *name)
{
    for (size_t i = 0; i < p->n_slots; i++)
        if (p->replicas[i].is_used && !p->replicas[i].is_leaving &&
            strcmp(p->replicas[i].name, name) == 0)
            return i;
    return POOL_NONE;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static uint64_t *memory_of(pool *p, uint64_t place)
{
    return &p->memory[pool_hash_mix(place) % POOL_MEMORY];
}

/* What pool_choose will read of a place, while it is not known yet whether it will be that one. */
static void fetch_place(pool *p, uint64_t place)
{
    __builtin_prefetch(memory_of(p, place));
    __builtin_prefetch(&p->ring.owners[pool_ring_find(pool_hash_mix(place))]);
    __builtin_prefetch(&p->ring.owners[pool_ring_find(pool_hash_mix(place ^ SECOND_HASH))]);
}

/* Most often it is the first of the marks, or the last: what is rare, or what all have. */
pool_place pool_place_of(pool *p, const pool_prefix *prefix)
{
    fetch_place(p, prefix->marks[0]);
    fetch_place(p, prefix->marks[prefix->n - 1]);
    return pool_heat_place(&p->heat, prefix, 1.0 / (double)(p->n > 0 ? p->n : 1));
}

static void fetch(const pool *p, size_t slot)
{
    for (size_t i = 0; i < POOL_LINES; i++)
        __builtin_prefetch((const char *)&p->replicas[slot] + i * ALIGNED_BYTES);
}

static bool was_tried(const pool_tried *t, size_t slot)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->slots[i] == slot)
            return true;
    return false;
}

/* A request may go to it, as far as is known but for its refusals. */
static bool has_room(pool *p, size_t slot, const pool_tried *tried, double now_ms)
{
    pool_replica *r = &p->replicas[slot];
    if (!r->is_used || r->is_leaving || was_tried(tried, slot))
        return false;
    if (p->setting.is_single)
        return true;
    double most =
        fmax(1, (double)pool_limit_now(&r->limit) * pool_breaker_share(&r->breaker, now_ms));
    return r->unwell < UNWELL && (double)r->in_flight < most &&
           pool_breaker_allows(&r->breaker, now_ms);
}

/* A request may go to it now. */
static bool is_free(pool *p, size_t slot, const pool_tried *tried, double now_ms)
{
    return (p->setting.is_single || now_ms >= p->replicas[slot].refused_until) &&
           has_room(p, slot, tried, now_ms);
}

/* More of the work is its than of the others, now or lately. What many ask for may leave it sooner
 * than what only few do: it is soon known elsewhere, too. */
static bool is_ahead(const pool *p, const pool_replica *r, bool is_hot)
{
    double n = (double)p->n, mean = (double)(p->in_flight + 1) / n;
    if (p->in_flight * SPARSE < p->n) /* little to do: nothing but caches matters */
        return false;
    return (double)r->in_flight + 1 >
               CROWDED * mean + 1 + (double)pool_limit_now(&r->limit) / ROOM ||
           (double)r->recent > (is_hot ? SKEW_HOT : SKEW) * (double)p->recent / n + SKEW_FREE;
}

/* What it would cost a request to go there, beside others. */
static double cost_of(const pool *p, const pool_replica *r, double now_ms)
{
    double beside = r->delay_ms > 0 && p->delay_ms > 0 ? r->delay_ms / p->delay_ms : 1;
    return (double)(r->in_flight + 1) * fmin(fmax(beside, 0.5), 2) /
           pool_breaker_share(&r->breaker, now_ms);
}

static size_t cheapest(pool *p, const pool_tried *tried, double now_ms)
{
    size_t best = POOL_NONE;
    double least = INFINITY;
    for (size_t i = 0; i < p->n_slots; i++) {
        double cost = is_free(p, i, tried, now_ms) ? cost_of(p, &p->replicas[i], now_ms) : INFINITY;
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

static bool is_hot(const pool *p, const pool_place *place)
{
    return place->share * (double)p->n > HOT;
}

static bool takes(pool *p, size_t slot, const pool_place *place, const pool_tried *tried,
                  double now_ms)
{
    return is_free(p, slot, tried, now_ms) && !is_ahead(p, &p->replicas[slot], is_hot(p, place));
}

/* The first that takes it from a point of the ring on. */
static size_t walk(pool *p, size_t point, const pool_place *place, const pool_tried *tried,
                   double now_ms)
{
    size_t before = POOL_NONE;
    for (size_t i = 0; i < WALK; i++) {
        size_t slot = pool_ring_slot(&p->ring, point + i);
        if (slot != before && takes(p, slot, place, tried, now_ms))
            return slot;
        before = slot;
    }
    return POOL_NONE;
}

/* The two that a place's hashes give. */
typedef struct candidates {
    size_t point, first, second; /* point: the first one's, of the ring */
} candidates;

/* Fetched at once, and before anybody knows whether they are needed. */
static candidates find_candidates(const pool *p, const pool_place *place)
{
    size_t point = pool_ring_find(pool_hash_mix(place->hash));
    size_t other = pool_ring_find(pool_hash_mix(place->hash ^ SECOND_HASH));
    candidates c = {point, pool_ring_slot(&p->ring, point), pool_ring_slot(&p->ring, other)};
    fetch(p, c.first);
    fetch(p, c.second);
    return c;
}

static size_t choose_anew(pool *p, const candidates *c, const pool_place *place,
                          const pool_tried *tried, double now_ms)
{
    bool has_first = takes(p, c->first, place, tried, now_ms);
    bool has_second = takes(p, c->second, place, tried, now_ms);
    if (has_first && has_second)
        return cost_of(p, &p->replicas[c->first], now_ms) <=
                       PREFERENCE * cost_of(p, &p->replicas[c->second], now_ms)
                   ? c->first
                   : c->second;
    if (has_first || has_second)
        return has_first ? c->first : c->second;
    size_t next = walk(p, c->point, place, tried, now_ms);
    return next != POOL_NONE ? next : cheapest(p, tried, now_ms);
}

/* Where the place's requests went last; POOL_NONE: it is not remembered. */
static size_t recall(const pool *p, uint64_t known, const pool_place *place)
{
    size_t slot = known % RING_SLOTS;
    bool is_its = known / RING_SLOTS == place->hash / RING_SLOTS;
    return is_its && slot < p->n_slots ? slot : POOL_NONE;
}

size_t pool_choose(pool *p, const pool_place *place, const pool_tried *tried, double now_ms)
{
    if (p->ring.n == 0)
        return POOL_NONE;
    uint64_t *memory = memory_of(p, place->hash);
    const candidates c = find_candidates(p, place);
    size_t slot = recall(p, *memory, place);
    if (slot == POOL_NONE || !takes(p, slot, place, tried, now_ms))
        slot = choose_anew(p, &c, place, tried, now_ms);
    if (slot != POOL_NONE)
        *memory = place->hash / RING_SLOTS * RING_SLOTS + slot;
    return slot;
}

size_t pool_choose_refused(pool *p, const pool_tried *tried, double now_ms)
{
    size_t best = POOL_NONE;
    for (size_t i = 0; i < p->n_slots; i++)
        if (has_room(p, i, tried, now_ms) &&
            (best == POOL_NONE || p->replicas[i].refused_until < p->replicas[best].refused_until))
            best = i;
    return best;
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

static void answered(pool *p, pool_replica *r, size_t most, double delay_ms, size_t size,
                     double now_ms)
{
    if (r->breaker.state != BREAKER_CLOSED && p->n > 0) { /* no rush to make up for its absence */
        p->recent -= r->recent;
        r->recent = p->recent / p->n;
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
    pool_limit_done(&r->limit, most, pool_limit_class(size), delay_ms);
}

/* Longer each time: somebody else's requests may have it. */
static void refused(pool *p, pool_replica *r, size_t most, double now_ms)
{
    double wait_ms = fmin(REFUSED_FIRST_MS * exp2(fmin(r->refusals, 20)), REFUSED_LONGEST_MS);
    r->refused++;
    r->refusals++;
    r->refused_until = now_ms + wait_ms * (0.5 + pool_draw(p));
    pool_limit_refused(&r->limit, most - 1);
    pool_breaker_forget(&r->breaker);
}

void pool_end(pool *p, size_t slot, pool_end_kind kind, size_t began_with, double delay_ms,
              size_t size, double now_ms)
{
    pool_replica *r = &p->replicas[slot];
    size_t most = r->in_flight > began_with ? r->in_flight : began_with;
    r->in_flight--;
    p->in_flight--;
    if (kind == POOL_ANSWERED)
        answered(p, r, most, delay_ms, size, now_ms);
    else if (kind == POOL_REFUSED)
        refused(p, r, most, now_ms);
    else if (kind == POOL_CANCELLED)
        pool_breaker_forget(&r->breaker);
    else {
        r->failed++;
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
            r->breaker.until_ms = now_ms;
        return false;
    }
    if (++r->unwell < UNWELL)
        return false;
    pool_breaker_fail(&r->breaker, true, pool_draw(p), now_ms);
    return true;
}
