/* pool.c: what choosing a replica costs: `pool [REPLICAS [REQUESTS]]`, 1,000 and a million. Time
 * and memory are shown for each tenth of the requests, so that what grows is seen. Simulated:
 * Zipf's prefixes, replicas that take 20 ms (100 ms for a prefix that is new to them), seven tenths
 * of their limit in use. */
#include <sys/resource.h>
#include <time.h>

#include "backend/pool.h"
#include "base/clock.h"
#include "unit/pool_simulation.h"

enum { TENTHS = 10, BATCH = 1000, PREFIXES = 100000, SERVICE_MS = 40, LIMIT = 8, AHEAD = 8 };

static double resident_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

/* Of this thread: others' work on the machine is none of it. */
static double processor_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* A request that comes, or one that ends; `number`: one of those that are free. */
typedef struct event {
    double ms;
    size_t number;
    bool is_end;
} event;

typedef struct placed {
    double began_ms;
    size_t slot, began_with;
} placed;

typedef struct load {
    pool *p;
    simulated_heap heap; /* those under way, by their end; `slot` is the request's number */
    size_t *free, n_free;
    placed *at; /* by number */
    double now_ms, gap_ms;
    size_t missed;
} load;

/* What happens until so many have come: how long a request takes does not depend on its replica, so
 * that the order of all is known before one is chosen, and only choosing is measured. */
static size_t make_events(load *l, event *out, size_t first)
{
    size_t n = 0;
    for (size_t i = first; i < first + BATCH; i++) {
        l->now_ms += draw_exponential(l->gap_ms, 1, i);
        while (l->heap.n > 0 && l->heap.at[0].end_ms <= l->now_ms) {
            simulated_request r = heap_pop(&l->heap);
            out[n++] = (event){r.end_ms, r.slot, true};
            l->free[l->n_free++] = r.slot;
        }
        size_t number = l->free[--l->n_free];
        out[n++] = (event){l->now_ms, number, false};
        heap_push(&l->heap,
                  (simulated_request){.end_ms = l->now_ms + draw_exponential(SERVICE_MS, 2, i),
                                      .slot = number});
    }
    return n;
}

static void take_one(load *l, const pool_prefix *prompt, const event *e)
{
    static const pool_tried none = {.n = 0};
    placed *at = &l->at[e->number];
    if (e->is_end) {
        if (at->slot != POOL_NONE)
            pool_end(l->p, at->slot, POOL_ANSWERED, at->began_with, e->ms - at->began_ms, 3000,
                     e->ms);
        return;
    }
    pool_place place = pool_place_of(l->p, prompt);
    *at = (placed){.began_ms = e->ms, .slot = pool_choose(l->p, &place, &none, e->ms)};
    if (at->slot == POOL_NONE)
        l->missed++;
    else
        at->began_with = pool_begin(l->p, at->slot);
}

static void run(load *l, size_t requests, size_t most)
{
    static pool_prefix prompts[BATCH];
    event *events = calloc(2 * BATCH + most, sizeof *events);
    double *sums = zipf_sums(PREFIXES, 1), work_ms = 0;
    for (size_t i = 0; i < requests; i += BATCH) {
        for (size_t k = 0; k < BATCH; k++)
            simulated_prompt(&prompts[k], zipf_draw(sums, PREFIXES, random_uniform(3, 3, i + k)),
                             i + k);
        size_t n = make_events(l, events, i);
        double start = processor_ms();
        for (size_t k = 0, next = 0; k < n; next += !events[k++].is_end) {
            /* What is the bench's own, more of it with more replicas, is there when it is looked
             * at. */
            __builtin_prefetch(&l->at[events[k + AHEAD < n ? k + AHEAD : k].number]);
            take_one(l, &prompts[next % BATCH], &events[k]);
        }
        work_ms += processor_ms() - start;
        if ((i + BATCH) % (requests / TENTHS) != 0)
            continue;
        printf("%9zu  %6.3f us  %7.1f MB  %zu not placed at once\n", i + BATCH,
               work_ms * 1e3 / (double)(requests / TENTHS), resident_mb(), l->missed);
        work_ms = 0;
        l->missed = 0;
    }
    free(events);
    free(sums);
}

int main(int n, char **arguments)
{
    size_t replicas = n > 1 ? strtoul(arguments[1], NULL, 10) : 1000;
    size_t requests = n > 2 ? strtoul(arguments[2], NULL, 10) : 1000000;
    failure fail;
    pool *p;
    double start = clock_ms(), before = resident_mb();
    if (replicas == 0 || pool_create(&p, &(pool_setting){.limit = LIMIT}, &fail) != OK)
        return 1;
    for (size_t i = 0, slot; i < replicas; i++) {
        char name[64];
        snprintf(name, sizeof name, "http://replica-%zu:8000/v1", i);
        if (pool_add(p, name, false, 0, &slot, &fail) != OK)
            return 1;
    }
    printf("%zu replicas: ready after %.0f ms, %.1f MB more\n", replicas, clock_ms() - start,
           resident_mb() - before);
    size_t most = replicas * LIMIT * 4; /* under way; seven tenths of the limits, in the mean */
    load l = {.p = p,
              .heap = {.at = calloc(most, sizeof *l.heap.at)},
              .free = calloc(most, sizeof *l.free),
              .at = calloc(most, sizeof *l.at),
              .gap_ms = SERVICE_MS / (0.7 * LIMIT * (double)replicas)};
    for (; l.n_free < most; l.n_free++)
        l.free[l.n_free] = most - 1 - l.n_free;
    run(&l, requests / (TENTHS * BATCH) * (TENTHS * BATCH), most);
    free(l.heap.at);
    free(l.free);
    free(l.at);
    pool_destroy(p);
    return 0;
}
