/* pool_choose.c: which replica a request goes to. */
#include <math.h>

#include "backend/pool.h"
#include "backend/pool_hash.h"

_Static_assert(sizeof(pool_replica) == ALIGNED_BYTES, "what a choice looks at is one line");

#define CROWDED                                                                                    \
    1.25        /* times the pool's mean of requests in flight: no more while others have less */
#define HOT 0.1 /* times a replica's share of all: what many ask for */
#define SKEW_HOT 1.02
#define SKEW 1.06      /* times its mean of the latest requests, likewise … */
#define ROOM 0.0625    /* of its limit, a part that it may have beyond that */
#define SPARSE 8       /* replicas for each request in flight */
#define SKEW_FREE 4    /* … once it has had so many more */
#define WALK 64        /* points of the ring that are looked at beyond the two */
#define PREFERENCE 1.5 /* the first of the two has it unless it costs so many times the second */
#define SECOND_HASH 0x5851F42D4C957F2Du

static uint32_t *memory_of(pool *p, uint64_t place)
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

static bool was_tried(const pool_tried *t, size_t slot)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->slots[i] == slot)
            return true;
    return false;
}

/* What a choice goes by: found once, whatever the replicas that are looked at. */
typedef struct choice {
    pool *p;
    const pool_tried *tried;
    double now_ms;
    bool is_sparse; /* little to do: nothing but caches matters */
    /* With more of either a replica is ahead of the others. */
    double most_in_flight; /* … and a part of its limit */
    double most_recent;
} choice;

static choice choice_of(pool *p, const pool_place *place, const pool_tried *tried, double now_ms)
{
    double part = 1 / (double)p->n;
    bool is_hot = place->share > HOT * part;
    return (choice){.p = p,
                    .tried = tried,
                    .now_ms = now_ms,
                    .is_sparse = p->in_flight * SPARSE < p->n,
                    .most_in_flight = CROWDED * (double)(p->in_flight + 1) * part,
                    .most_recent =
                        (is_hot ? SKEW_HOT : SKEW) * (double)p->recent * part + SKEW_FREE};
}

/* A request may go to it, as far as is known but for its refusals. */
static bool has_room(pool *p, size_t slot, const pool_tried *tried, double now_ms)
{
    pool_replica *r = &p->replicas[slot];
    if (!r->is_used || r->is_leaving || was_tried(tried, slot))
        return false;
    if (p->setting.is_single)
        return true;
    double most = r->limit * pool_breaker_share(&r->breaker, now_ms);
    return r->unwell < POOL_UNWELL && (r->in_flight == 0 || r->in_flight < most) &&
           pool_breaker_allows(&r->breaker, now_ms);
}

/* A request may go to it now. */
static bool is_free(const choice *c, size_t slot)
{
    return (c->p->setting.is_single || c->now_ms >= c->p->replicas[slot].refused_until) &&
           has_room(c->p, slot, c->tried, c->now_ms);
}

/* More of the work is its than of the others, now or lately. What many ask for may leave it sooner
 * than what only few do: it is soon known elsewhere, too. */
static bool is_ahead(const choice *c, const pool_replica *r)
{
    return !c->is_sparse &&
           (r->in_flight > c->most_in_flight + r->limit * ROOM || r->recent > c->most_recent);
}

static bool takes(const choice *c, size_t slot)
{
    return is_free(c, slot) && !is_ahead(c, &c->p->replicas[slot]);
}

/* What it would cost a request to go there, beside others: a delay unlike the others' counts, but
 * no more than twofold. */
static double cost_of(const choice *c, size_t slot)
{
    const pool_replica *r = &c->p->replicas[slot];
    double all_ms = c->p->delay_ms > 0 ? c->p->delay_ms : 1;
    double ms = r->delay_ms > 0 ? r->delay_ms : all_ms;
    ms = ms < all_ms / 2 ? all_ms / 2 : ms > all_ms * 2 ? all_ms * 2 : ms;
    double share = pool_breaker_share(&r->breaker, c->now_ms);
    double cost = (r->in_flight + 1.0) * ms;
    return share < 1 ? cost / share : cost;
}

static size_t cheapest(const choice *c)
{
    size_t best = POOL_NONE;
    double least = INFINITY;
    for (size_t i = 0; i < c->p->n_slots; i++) {
        double cost = is_free(c, i) ? cost_of(c, i) : INFINITY;
        if (cost < least) {
            least = cost;
            best = i;
        }
    }
    return best;
}

/* The first that takes it from a point of the ring on. */
static size_t walk(const choice *c, size_t point)
{
    size_t before = POOL_NONE;
    for (size_t i = 0; i < WALK; i++) {
        size_t slot = pool_ring_slot(&c->p->ring, point + i);
        if (slot != before && takes(c, slot))
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
    candidates two = {point, pool_ring_slot(&p->ring, point), pool_ring_slot(&p->ring, other)};
    __builtin_prefetch(&p->replicas[two.first]);
    __builtin_prefetch(&p->replicas[two.second]);
    return two;
}

static size_t choose_anew(const choice *c, const candidates *two)
{
    bool has_first = takes(c, two->first), has_second = takes(c, two->second);
    if (has_first && has_second)
        return cost_of(c, two->first) <= PREFERENCE * cost_of(c, two->second) ? two->first
                                                                              : two->second;
    if (has_first || has_second)
        return has_first ? two->first : two->second;
    size_t next = walk(c, two->point);
    return next != POOL_NONE ? next : cheapest(c);
}

/* What is remembered of a place: the slot, and beside it what tells the place from others. */
static uint32_t memory_word(const pool_place *place, size_t slot)
{
    return (uint32_t)(place->hash >> 48) << 16 | (uint32_t)slot;
}

/* Where the place's requests went last; POOL_NONE: it is not remembered. */
static size_t recall(const pool *p, uint32_t known, const pool_place *place)
{
    size_t slot = known % RING_SLOTS;
    return known == memory_word(place, slot) && slot < p->n_slots ? slot : POOL_NONE;
}

size_t pool_choose(pool *p, const pool_place *place, const pool_tried *tried, double now_ms)
{
    if (p->ring.n == 0)
        return POOL_NONE;
    uint32_t *memory = memory_of(p, place->hash);
    const candidates two = find_candidates(p, place);
    const choice c = choice_of(p, place, tried, now_ms);
    size_t slot = recall(p, *memory, place);
    if (slot == POOL_NONE || !takes(&c, slot))
        slot = choose_anew(&c, &two);
    if (slot != POOL_NONE)
        *memory = memory_word(place, slot);
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
