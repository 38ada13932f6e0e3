/* pool_ring.c: the table of points, kept as replicas come and go. */
#include "backend/pool_ring.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backend/pool_hash.h"

static uint64_t score_of(uint64_t key, size_t point)
{
    return pool_hash_mix(key + point);
}

/* Equal scores are the greater key's, so that the order of coming tells nothing. */
static bool is_higher(uint64_t key, uint64_t than, size_t point)
{
    uint64_t score = score_of(key, point), other = score_of(than, point);
    return score > other || (score == other && key > than);
}

static error_code make_room(pool_ring *r, size_t slot, failure *fail)
{
    if (slot >= RING_SLOTS)
        return failure_set(fail, ERR_MEMORY, "more than %zu replicas", RING_SLOTS);
    if (slot < r->n_slots)
        return OK;
    uint64_t *longer = reallocarray(r->keys, slot + 1, sizeof *longer);
    if (longer == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for one more replica");
    memset(longer + r->n_slots, 0, (slot + 1 - r->n_slots) * sizeof *longer);
    r->keys = longer;
    r->n_slots = slot + 1;
    return OK;
}

error_code pool_ring_add(pool_ring *r, const char *name, size_t slot, failure *fail)
{
    error_code code = make_room(r, slot, fail);
    if (code != OK)
        return code;
    uint64_t key = pool_hash_bytes(0, name, strlen(name)) | 1; /* 0 is nobody's */
    for (size_t i = 0; i < RING_POINTS; i++)
        if (r->n == 0 || is_higher(key, r->keys[r->owners[i]], i))
            r->owners[i] = (uint16_t)slot;
    r->keys[slot] = key;
    r->n++;
    return OK;
}

/* Slots without a replica have no score. */
static size_t best_at(const pool_ring *r, size_t point)
{
    size_t best = SIZE_MAX;
    for (size_t slot = 0; slot < r->n_slots; slot++)
        if (r->keys[slot] != 0 &&
            (best == SIZE_MAX || is_higher(r->keys[slot], r->keys[best], point)))
            best = slot;
    return best;
}

void pool_ring_remove(pool_ring *r, size_t slot)
{
    r->keys[slot] = 0;
    r->n--;
    for (size_t i = 0; r->n > 0 && i < RING_POINTS; i++)
        if (r->owners[i] == slot)
            r->owners[i] = (uint16_t)best_at(r, i);
}

void pool_ring_free(pool_ring *r)
{
    free(r->keys);
    r->keys = NULL;
    r->n_slots = r->n = 0;
}
