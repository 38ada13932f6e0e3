/*
 * pool.h: the replicas of one model: which one a request goes to, and what is learned of each.
 *
 * Two hashes of the prompt's place (pool_prefix) give two replicas on the ring; the first has the
 * request unless the second is better by its requests in flight and its delay (DualMap). Later
 * requests of the place follow it. Where one has more of the work than the others, it gets no more:
 * the other of the two has it, then the next on the ring, then any. What a replica says of its load
 * is not asked: one that refuses is passed by for a moment, and the request goes on to the next at
 * once (P/D-Serve).
 *
 * Whoever has a request asks pool_choose, tells what it does (pool_begin), and then what came of it
 * (pool_end), once for each begin. No I/O and no clock: the time is passed in, in milliseconds; no
 * lock: one thread at a time. Slots are numbers of replicas; one that was removed keeps its slot
 * until its last request has ended.
 */
#ifndef BACKEND_POOL_H
#define BACKEND_POOL_H

#include "backend/pool_breaker.h"
#include "backend/pool_delay.h"
#include "backend/pool_limit.h"
#include "backend/pool_prefix.h"
#include "backend/pool_ring.h"
#include "base/aligned.h"

#define POOL_NONE SIZE_MAX
#define POOL_MOST_TRIED 8

typedef struct pool_setting {
    size_t limit;         /* requests in flight at each; 0: learned */
    double slow_start_ms; /* of one that is new or came back */
    bool is_single;       /* one server and no other: nothing is held back from it */
    uint64_t seed;        /* of jitter */
} pool_setting;

/* What is learned of a replica and no choice looks at. */
typedef struct pool_history {
    pool_limit limit;
    uint64_t refused, failed, hedged; /* of its requests */
    char *name;
} pool_history;

/* All that a choice looks at, in one line of a cache: with 1,000 replicas it is not in the first
 * but for the latest. */
typedef struct pool_replica {
    _Alignas(ALIGNED_BYTES) uint32_t in_flight;
    uint32_t recent;      /* of its requests, those of late */
    uint32_t limit;       /* of its requests in flight: pool_limit_now */
    uint8_t unwell;       /* health checks in a row that failed, as far as they count */
    uint8_t refusals;     /* in a row, likewise */
    bool is_used : 1;     /* the slot has one */
    bool is_leaving : 1;  /* gets nothing more */
    bool is_learning : 1; /* its limit is not fixed */
    double refused_until; /* passed by until then */
    double delay_ms;      /* mean of the latest, to the first byte; 0: not known */
    uint64_t requests;    /* so far */
    pool_breaker breaker;
    pool_history *history;
} pool_replica;

#define POOL_UNWELL 2 /* checks in a row that fail, and it counts as gone */
#define POOL_MEMORY 32768

typedef struct pool {
    pool_setting setting;
    pool_ring ring;
    pool_heat heat;
    /* Where requests of a place went last: the slot, and above it 16 bits of its hash. */
    uint32_t memory[POOL_MEMORY];
    pool_delay delays;
    pool_replica *replicas;        /* by slot, each from the beginning of a line */
    size_t n_slots, most_slots, n; /* n: those that are used and not leaving */
    size_t in_flight;
    double delay_ms; /* as the replicas' */
    uint64_t recent; /* likewise, all together */
    uint64_t drawn;  /* random numbers */
} pool;

/* Those that a request has been to in this round. */
typedef struct pool_tried {
    size_t slots[POOL_MOST_TRIED];
    size_t n;
} pool_tried;

error_code pool_create(pool **out, const pool_setting *s, failure *fail);
void pool_destroy(pool *p); /* NULL too */

/* `name`: its URL, which is copied. `is_new`: it comes to a pool that works, and starts slowly. */
error_code pool_add(pool *p, const char *name, bool is_new, double now_ms, size_t *slot,
                    failure *fail);
/* It gets nothing more. The slot is free once nothing is in flight. */
void pool_remove(pool *p, size_t slot);
size_t pool_find(const pool *p, const char *name); /* POOL_NONE: no such replica */
/* For all that are there, and those to come. What was learned of a limit is forgotten where another
 * one is set. */
void pool_change(pool *p, size_t limit, double slow_start_ms);

/* Where a prompt belongs; it counts as one that came. */
pool_place pool_place_of(pool *p, const pool_prefix *prefix);
/* Where a request goes now, none of those tried; POOL_NONE: nowhere, now. */
size_t pool_choose(pool *p, const pool_place *place, const pool_tried *tried, double now_ms);
/* Likewise for a request that pool_choose sent nowhere: whichever of those that are passed by for a
 * refusal is to be asked again first. */
size_t pool_choose_refused(pool *p, const pool_tried *tried, double now_ms);

typedef enum pool_end_kind {
    POOL_ANSWERED,  /* whatever the answer */
    POOL_REFUSED,   /* it has no room (429, 503) */
    POOL_GONE,      /* no connection: nobody there, no such name, no valid certificate */
    POOL_FAILED,    /* silence, garbage, an end too early, 5xx */
    POOL_CANCELLED, /* tells nothing of the replica */
} pool_end_kind;

/* Returns what pool_end wants to know again: how many there were with it. */
size_t pool_begin(pool *p, size_t slot);
/* `delay_ms`: to the first byte, 0 where none came; `size`: bytes of the prompt. */
void pool_end(pool *p, size_t slot, pool_end_kind kind, size_t began_with, double delay_ms,
              size_t size, double now_ms);
/* What a health check found: while they fail, nothing is sent there. True: those that wait for its
 * first byte should go elsewhere. */
bool pool_check(pool *p, size_t slot, bool is_well, double now_ms);

/* A random number in [0, 1). */
double pool_draw(pool *p);

#endif
