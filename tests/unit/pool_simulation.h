/* pool_simulation.h: replicas with caches of prefixes in simulated time, and requests that come at
 * random: what a pool makes of them, beside pure hashing and the least loaded. */
#ifndef TESTS_POOL_SIMULATION_H
#define TESTS_POOL_SIMULATION_H

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/pool.h"
#include "backend/pool_hash.h"
#include "base/random.h"

typedef enum simulated_way { WAY_POOL, WAY_HASH, WAY_LEAST } simulated_way;

typedef struct simulation {
    size_t replicas, prefixes, cache; /* cache: prefixes that a replica keeps */
    double exponent;                  /* Zipf's */
    double hit_ms, miss_ms, gap_ms;   /* what a request takes, and the mean between two */
    size_t requests;
    simulated_way way;
} simulation;

typedef struct simulation_result {
    double hit_rate;
    double skew;      /* most requests of a replica beside the mean */
    double busy_skew; /* the same of the time that requests were there */
} simulation_result;

typedef struct simulated_request {
    double end_ms, began_ms;
    size_t slot, began_with;
} simulated_request;

/* Events by their end: a heap. */
typedef struct simulated_heap {
    simulated_request *at;
    size_t n;
} simulated_heap;

static inline void heap_push(simulated_heap *h, simulated_request r)
{
    size_t i = h->n++;
    for (; i > 0 && h->at[(i - 1) / 2].end_ms > r.end_ms; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = r;
}

static inline simulated_request heap_pop(simulated_heap *h)
{
    simulated_request first = h->at[0], last = h->at[--h->n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        child += child + 1 < h->n && h->at[child + 1].end_ms < h->at[child].end_ms;
        if (h->at[child].end_ms >= last.end_ms)
            break;
        h->at[i] = h->at[child];
    }
    h->at[i] = last;
    return first;
}

static inline double draw_exponential(double mean, uint64_t seed, uint64_t i)
{
    return -mean * log(1 - random_uniform(seed, 1, i));
}

/* Prefix numbers by Zipf's law, from a table of sums. */
static inline double *zipf_sums(size_t n, double exponent)
{
    double *sums = calloc(n, sizeof *sums), sum = 0;
    for (size_t i = 0; i < n; i++)
        sums[i] = sum += pow((double)i + 1, -exponent);
    for (size_t i = 0; i < n; i++)
        sums[i] /= sum;
    return sums;
}

static inline size_t zipf_draw(const double *sums, size_t n, double u)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sums[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A prompt: a document of 3,000 bytes, and a question of its own. */
static inline void simulated_prompt(pool_prefix *p, size_t document, size_t question)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    int n = snprintf(text, sizeof text, "document %zu", document);
    text[n] = ' ';
    pool_prefix_init(p);
    pool_prefix_add(p, text, sizeof text);
    n = snprintf(text, sizeof text, "question %zu?", question);
    pool_prefix_add(p, text, (size_t)n);
    pool_prefix_mark(p);
}

/* Least recently used prefixes go: last[prefix] says when it was used, 0: not there. */
static inline bool cache_use(size_t *last, size_t prefixes, size_t capacity, size_t *held,
                             size_t prefix, size_t now)
{
    bool is_hit = last[prefix] > 0;
    if (!is_hit && *held == capacity) {
        size_t oldest = SIZE_MAX;
        for (size_t i = 0; i < prefixes; i++)
            if (last[i] > 0 && (oldest == SIZE_MAX || last[i] < last[oldest]))
                oldest = i;
        last[oldest] = 0;
    } else
        *held += !is_hit;
    last[prefix] = now;
    return is_hit;
}

static inline size_t simulated_choice(pool *p, const simulation *s, size_t prefix, size_t i,
                                      double now_ms)
{
    static const pool_tried none = {.n = 0};
    pool_prefix prompt;
    if (s->way == WAY_HASH)
        return pool_ring_slot(&p->ring, pool_ring_find(pool_hash_mix(prefix)));
    if (s->way == WAY_POOL) {
        simulated_prompt(&prompt, prefix, i);
        pool_place place = pool_place_of(p, &prompt);
        return pool_choose(p, &place, &none, now_ms);
    }
    size_t best = 0, from = (size_t)(random_uniform(5, 5, i) * (double)s->replicas);
    for (size_t k = 0, least = SIZE_MAX; k < s->replicas; k++) {
        size_t slot = (from + k) % s->replicas;
        if (p->replicas[slot].in_flight < least) {
            least = p->replicas[slot].in_flight;
            best = slot;
        }
    }
    return best;
}

static inline simulation_result simulate(const simulation *s)
{
    pool *p;
    failure fail;
    simulation_result out = {0};
    size_t *last = calloc(s->replicas * s->prefixes, sizeof *last), hits = 0;
    size_t *held = calloc(s->replicas, sizeof *held);
    double *busy_ms = calloc(s->replicas, sizeof *busy_ms), now_ms = 0, most = 0, sum = 0;
    double *sums = zipf_sums(s->prefixes, s->exponent);
    simulated_heap heap = {.at = calloc(s->requests, sizeof *heap.at)};
    size_t lost = 0;
    if (pool_create(&p, &(pool_setting){.limit = 64}, &fail) != OK)
        abort();
    for (size_t i = 0, slot; i < s->replicas; i++) {
        char name[48];
        snprintf(name, sizeof name, "http://10.0.0.%zu:8000/v1", i);
        pool_add(p, name, false, 0, &slot, &fail);
    }
    for (size_t i = 0; i < s->requests; i++) {
        now_ms += draw_exponential(s->gap_ms, 1, i);
        while (heap.n > 0 && heap.at[0].end_ms <= now_ms) {
            simulated_request r = heap_pop(&heap);
            busy_ms[r.slot] += r.end_ms - r.began_ms;
            pool_end(p, r.slot, POOL_ANSWERED, r.began_with, r.end_ms - r.began_ms, 3000, r.end_ms);
        }
        size_t prefix = zipf_draw(sums, s->prefixes, random_uniform(3, 3, i));
        size_t slot = simulated_choice(p, s, prefix, i, now_ms);
        if (slot == POOL_NONE) {
            lost++;
            continue;
        }
        bool hit =
            cache_use(last + slot * s->prefixes, s->prefixes, s->cache, &held[slot], prefix, i + 1);
        hits += hit;
        heap_push(&heap, (simulated_request){.end_ms = now_ms + (hit ? s->hit_ms : s->miss_ms),
                                             .began_ms = now_ms,
                                             .slot = slot,
                                             .began_with = pool_begin(p, slot)});
    }
    out.hit_rate = (double)hits / (double)s->requests;
    for (size_t i = 0; i < s->replicas; i++) {
        out.skew = fmax(out.skew, (double)p->replicas[i].requests * (double)s->replicas /
                                      (double)(s->requests - lost));
        most = fmax(most, busy_ms[i]);
        sum += busy_ms[i];
    }
    out.busy_skew = most * (double)s->replicas / sum;
    pool_destroy(p);
    free(last);
    free(held);
    free(busy_ms);
    free(sums);
    free(heap.at);
    return out;
}

#endif
