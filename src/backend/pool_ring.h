/*
 * pool_ring.h: which replica a hash falls to, so that one that comes or goes moves few hashes.
 *
 * The ring has RING_POINTS points, whatever the number of replicas: finding one reads two bytes of
 * a table that stays in a cache. Each point is the replica's whose score there is the highest
 * (rendezvous hashing: Thaler and Ravishankar 1998), told by the names alone: later starts and
 * other routers come to the same places, in whatever order replicas came. One that comes takes its
 * points from all the others, and leaves them to all when it goes. No clock, no lock: one thread at
 * a time.
 */
#ifndef BACKEND_POOL_RING_H
#define BACKEND_POOL_RING_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

#define RING_POINTS                                                                                \
    ((size_t)65536) /* of 8 replicas each has an eighth within 1 %, of 1,000 within 12 % */
#define RING_SLOTS ((size_t)65536)

typedef struct pool_ring {
    uint16_t owners[RING_POINTS]; /* slots of replicas */
    uint64_t *keys;               /* of the names, by slot; 0: no replica */
    size_t n_slots, n;            /* n: replicas */
} pool_ring;

/* From {0}. `slot` < RING_SLOTS; the same replica is not added twice. Takes 0.2 ms. */
error_code pool_ring_add(pool_ring *r, const char *name, size_t slot, failure *fail);
void pool_ring_remove(pool_ring *r, size_t slot);
void pool_ring_free(pool_ring *r);

/* The point of a hash. The next points are one more, from the last to the first. */
static inline size_t pool_ring_find(uint64_t hash)
{
    return hash / (UINT64_MAX / RING_POINTS + 1);
}

/* Whose it is, where there is a replica at all. */
static inline size_t pool_ring_slot(const pool_ring *r, size_t point)
{
    return r->owners[point % RING_POINTS];
}

#endif
