/*
 * pool_ring.h: a hash ring: which replica a hash falls to, so that one that comes or goes moves few
 * hashes.
 *
 * A replica has RING_POINTS points on the ring, told by its name alone: later starts and other
 * routers come to the same places. A hash is the replica's whose point is the first from it on.
 * No clock, no lock: one thread at a time.
 */
#ifndef BACKEND_POOL_RING_H
#define BACKEND_POOL_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

#define RING_POINTS 1024 /* shares then differ by 3 % */
#define RING_SLOTS 65536

typedef struct pool_ring {
    uint64_t *points; /* place above, slot in the lowest 16 bits; sorted but for the newest */
    size_t n, n_sorted;
    uint32_t *starts; /* of each equal part of the ring, its first point */
    unsigned part_bits;
} pool_ring;

/* From {0}. `slot` < RING_SLOTS; the same replica is not added twice. */
error_code pool_ring_add(pool_ring *r, const char *name, size_t slot, failure *fail);
void pool_ring_remove(pool_ring *r, size_t slot);
void pool_ring_free(pool_ring *r);

/* Puts what was added in its place; before lookups, after any number of changes. */
error_code pool_ring_settle(pool_ring *r, failure *fail);
bool pool_ring_is_settled(const pool_ring *r);
/* The point of a hash, < r->n, which must not be 0. The next points are one more, from the last to
 * the first. */
size_t pool_ring_find(const pool_ring *r, uint64_t hash);
size_t pool_ring_slot(const pool_ring *r, size_t point);

#endif
