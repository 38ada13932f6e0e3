/* pool_ring.c: points of a hash ring, sorted, and a table that leads near the right one. */
#include "backend/pool_ring.h"

#include <stdlib.h>
#include <string.h>

#include "backend/pool_hash.h"

#define SLOT_MASK ((uint64_t)RING_SLOTS - 1)

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

error_code pool_ring_add(pool_ring *r, const char *name, size_t slot, failure *fail)
{
    uint64_t *longer = reallocarray(r->points, r->n + RING_POINTS, sizeof *longer);
    if (longer == NULL || slot >= RING_SLOTS)
        return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
    r->points = longer;
    free(r->starts);
    r->starts = NULL;
    uint64_t hash = pool_hash_bytes(0, name, strlen(name));
    for (size_t i = 0; i < RING_POINTS; i++) {
        uint64_t place = pool_hash_mix(hash + i);
        r->points[r->n++] = (place & ~SLOT_MASK) | slot;
    }
    return OK;
}

void pool_ring_remove(pool_ring *r, size_t slot)
{
    size_t kept = 0, sorted = 0;
    for (size_t i = 0; i < r->n; i++) {
        if ((r->points[i] & SLOT_MASK) == slot)
            continue;
        sorted += i < r->n_sorted;
        r->points[kept++] = r->points[i];
    }
    r->n = kept;
    r->n_sorted = sorted;
    free(r->starts);
    r->starts = NULL;
}

void pool_ring_free(pool_ring *r)
{
    free(r->points);
    free(r->starts);
    *r = (pool_ring){.n = 0};
}

/* The newest points among the others. */
static error_code merge(pool_ring *r, failure *fail)
{
    size_t n_new = r->n - r->n_sorted, left = r->n_sorted;
    uint64_t *added = reallocarray(NULL, n_new, sizeof *added);
    if (added == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the replicas' ring");
    memcpy(added, r->points + r->n_sorted, n_new * sizeof *added);
    qsort(added, n_new, sizeof *added, compare);
    for (size_t to = r->n; n_new > 0;)
        r->points[--to] =
            left > 0 && r->points[left - 1] > added[n_new - 1] ? r->points[--left] : added[--n_new];
    r->n_sorted = r->n;
    free(added);
    return OK;
}

static size_t part_of(const pool_ring *r, uint64_t hash)
{
    return (size_t)(hash >> (64 - r->part_bits));
}

/* About as many parts as points. */
static error_code index_parts(pool_ring *r, failure *fail)
{
    r->part_bits = 10;
    while (r->part_bits < 26 && (size_t)1 << r->part_bits < r->n)
        r->part_bits++;
    size_t n_parts = (size_t)1 << r->part_bits;
    free(r->starts);
    r->starts = reallocarray(NULL, n_parts + 1, sizeof *r->starts);
    if (r->starts == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the replicas' ring");
    for (size_t part = 0, at = 0; part <= n_parts; part++) {
        while (at < r->n && part_of(r, r->points[at]) < part)
            at++;
        r->starts[part] = (uint32_t)at;
    }
    return OK;
}

bool pool_ring_is_settled(const pool_ring *r)
{
    return r->n_sorted == r->n && r->starts != NULL;
}

error_code pool_ring_settle(pool_ring *r, failure *fail)
{
    if (pool_ring_is_settled(r))
        return OK;
    error_code code = r->n_sorted < r->n ? merge(r, fail) : OK;
    return code == OK ? index_parts(r, fail) : code;
}

size_t pool_ring_find(const pool_ring *r, uint64_t hash)
{
    size_t at = r->starts[part_of(r, hash)];
    while (at < r->n && r->points[at] < hash)
        at++;
    return at < r->n ? at : 0;
}

size_t pool_ring_slot(const pool_ring *r, size_t point)
{
    return (size_t)(r->points[point] & SLOT_MASK);
}
