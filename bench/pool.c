/* pool.c: what choosing a replica costs: `pool [REPLICAS [REQUESTS]]`, 1,000 and a million. Time
 * and memory are shown for each tenth of the requests, so that what grows is seen. Simulated:
 * Zipf's prefixes, replicas that take 20 ms (100 ms for a prefix that is new to them), seven tenths
 * of their limit in use. */
#include <sys/resource.h>
#include <time.h>

#include "backend/pool.h"
#include "base/clock.h"
#include "unit/pool_simulation.h"

enum { TENTHS = 10, BATCH = 1000, PREFIXES = 100000, SERVICE_MS = 40, LIMIT = 8 };

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

typedef struct load {
    pool *p;
    simulated_heap heap;
    double now_ms, gap_ms;
    size_t missed;
} load;

static void place_one(load *l, const pool_prefix *prompt, size_t i)
{
    static const pool_tried none = {.n = 0};
    l->now_ms += draw_exponential(l->gap_ms, 1, i);
    while (l->heap.n > 0 && l->heap.at[0].end_ms <= l->now_ms) {
        simulated_request r = heap_pop(&l->heap);
        pool_end(l->p, r.slot, POOL_ANSWERED, r.began_with, r.end_ms - r.began_ms, 3000, r.end_ms);
    }
    pool_place place = pool_place_of(l->p, prompt);
    size_t slot = pool_choose(l->p, &place, &none, l->now_ms);
    if (slot == POOL_NONE)
        l->missed++;
    else
        heap_push(&l->heap, (simulated_request){l->now_ms + draw_exponential(SERVICE_MS, 2, i),
                                                l->now_ms, slot, pool_begin(l->p, slot)});
}

static void run(load *l, size_t requests)
{
    static pool_prefix prompts[BATCH];
    double *sums = zipf_sums(PREFIXES, 1), work_ms = 0;
    for (size_t i = 0; i < requests; i += BATCH) {
        for (size_t k = 0; k < BATCH; k++)
            simulated_prompt(&prompts[k], zipf_draw(sums, PREFIXES, random_uniform(3, 3, i + k)),
                             i + k);
        double start = processor_ms();
        for (size_t k = 0; k < BATCH; k++)
            place_one(l, &prompts[k], i + k);
        work_ms += processor_ms() - start;
        if ((i + BATCH) % (requests / TENTHS) != 0)
            continue;
        printf("%9zu  %6.3f us  %7.1f MB  %zu not placed at once\n", i + BATCH,
               work_ms * 1e3 / (double)(requests / TENTHS), resident_mb(), l->missed);
        work_ms = 0;
        l->missed = 0;
    }
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
    if (pool_settle(p, &fail) != OK)
        return 1;
    printf("%zu replicas: ready after %.0f ms, %.1f MB more\n", replicas, clock_ms() - start,
           resident_mb() - before);
    load l = {.p = p,
              .heap = {.at = calloc(replicas * (LIMIT + 1), sizeof *l.heap.at)},
              .gap_ms = SERVICE_MS / (0.7 * LIMIT * (double)replicas)};
    run(&l, requests / (TENTHS * BATCH) * (TENTHS * BATCH));
    free(l.heap.at);
    pool_destroy(p);
    return 0;
}
