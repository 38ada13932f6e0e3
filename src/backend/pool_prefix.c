/* pool_prefix.c: hashes of a prompt's beginnings, and which of them are common. */
#include "backend/pool_prefix.h"

#include "backend/pool_hash.h"

#define FEW 2          /* prompts, that say nothing of a share */
#define HEAT_FULL 4096 /* prompts that are remembered, half of them from before */

void pool_prefix_init(pool_prefix *p)
{
    p->n = p->length = p->n_rest = 0;
    p->hash = 0;
    p->next = PREFIX_FIRST_BYTES;
}

/* The same hash at the same length, in whatever pieces the bytes came. */
static uint64_t hash_here(const pool_prefix *p)
{
    return p->n_rest > 0 ? pool_hash_bytes(p->hash, p->rest, p->n_rest) : p->hash;
}

void pool_prefix_mark(pool_prefix *p)
{
    uint64_t hash = hash_here(p);
    if (p->n < PREFIX_MARKS && (p->n == 0 || p->marks[p->n - 1] != hash))
        p->marks[p->n++] = hash;
}

void pool_prefix_add(pool_prefix *p, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    while (n > 0 && p->length < PREFIX_LAST_BYTES) {
        size_t some = PREFIX_FIRST_BYTES - p->n_rest;
        some = n < some ? n : some;
        memcpy(p->rest + p->n_rest, at, some);
        p->n_rest += some;
        p->length += some;
        at += some;
        n -= some;
        if (p->n_rest < PREFIX_FIRST_BYTES)
            break;
        p->hash = hash_here(p);
        p->n_rest = 0;
        if (p->length != p->next)
            continue;
        pool_prefix_mark(p);
        p->next *= 2;
    }
}

/* Adds one; returns what there was: the lesser of a mark's two counts, which others may share. */
static unsigned count(pool_heat *h, uint64_t mark)
{
    pool_heat_line *line = &h->lines[mark % HEAT_LINES];
    uint16_t *a = &line->counts[0][mark / HEAT_LINES % HEAT_COLUMNS];
    uint16_t *b = &line->counts[1][mark / HEAT_LINES / HEAT_COLUMNS % HEAT_COLUMNS];
    unsigned least = *a < *b ? *a : *b;
    ++*a;
    ++*b;
    return least;
}

static void halve(pool_heat *h)
{
    h->total /= 2;
    for (size_t i = 0; i < HEAT_LINES; i++)
        for (size_t row = 0; row < HEAT_ROWS; row++)
            for (size_t k = 0; k < HEAT_COLUMNS; k++)
                h->lines[i].counts[row][k] /= 2;
}

pool_place pool_heat_place(pool_heat *h, const pool_prefix *p, double most)
{
    for (size_t i = 1; i < p->n; i++) /* while it is not known yet how many are needed */
        __builtin_prefetch(&h->lines[p->marks[i] % HEAT_LINES]);
    double limit = most * h->total + FEW;
    size_t i = 0;
    unsigned n = count(h, p->marks[0]);
    while (n > limit && i + 1 < p->n)
        n = count(h, p->marks[++i]);
    pool_place place = {.hash = p->marks[i], .share = n > FEW ? n / (h->total + 1.0) : 0};
    if (++h->total >= HEAT_FULL)
        halve(h);
    return place;
}
