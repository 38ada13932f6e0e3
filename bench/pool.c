/* pool.c: what choosing a replica costs beside 10 and beside 1,000 of them: `pool [FEW [MANY
 * [REQUESTS]]]`. Both are measured by turns in one process, TURNS times, so that what else the
 * machine does is in both: the time of each, their ratio, and the medians. Simulated: Zipf's
 * prefixes, replicas that take 40 ms in the mean, seven tenths of their limit in use. */
#include <sys/resource.h>
#include <time.h>

#include "backend/pool.h"
#include "base/clock.h"
#include "unit/pool_simulation.h"

enum { TURNS = 50, BATCH = 1000, PREFIXES = 100000, SERVICE_MS = 40, LIMIT = 8, AHEAD = 8 };

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
    size_t replicas, most; /* most: requests under way */
    simulated_heap heap;   /* those under way, by their end; `slot` is the request's number */
    size_t *free, n_free;
    placed *at; /* by number */
    double now_ms, gap_ms;
    event *events; /* of a batch */
    size_t came, missed;
    double costs_us[TURNS], mb;
} load;

/* What happens until so many have come: how long a request takes does not depend on its replica, so
 * that the order of all is known before one is chosen, and only choosing is measured. */
static size_t make_events(load *l)
{
    event *out = l->events;
    size_t n = 0;
    for (size_t i = l->came; i < l->came + BATCH; i++) {
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

/* A batch's time of a core, in milliseconds. */
static double run_batch(load *l, const double *sums)
{
    static pool_prefix prompts[BATCH];
    for (size_t k = 0; k < BATCH; k++) {
        size_t i = l->came + k;
        simulated_prompt(&prompts[k], zipf_draw(sums, PREFIXES, random_uniform(3, 3, i)), i);
    }
    size_t n = make_events(l);
    double start = processor_ms();
    for (size_t k = 0, next = 0; k < n; next += !l->events[k++].is_end) {
        /* What is the bench's own, more of it with more replicas, is there when it is looked at. */
        __builtin_prefetch(&l->at[l->events[k + AHEAD < n ? k + AHEAD : k].number]);
        const pool_prefix *later = &prompts[(next + AHEAD) % BATCH];
        __builtin_prefetch(later->marks);
        __builtin_prefetch(&later->n);
        take_one(l, &prompts[next % BATCH], &l->events[k]);
    }
    l->came += BATCH;
    return processor_ms() - start;
}

static double run_turn(load *l, const double *sums, size_t requests)
{
    double ms = 0;
    for (size_t i = 0; i < requests; i += BATCH)
        ms += run_batch(l, sums);
    return ms * 1e3 / (double)requests;
}

static bool load_init(load *l, size_t replicas)
{
    failure fail;
    double before = resident_mb();
    *l = (load){.replicas = replicas, .most = replicas * LIMIT * 4};
    l->gap_ms = SERVICE_MS / (0.7 * LIMIT * (double)replicas);
    if (pool_create(&l->p, &(pool_setting){.limit = LIMIT}, &fail) != OK)
        return false;
    for (size_t i = 0, slot; i < replicas; i++) {
        char name[64];
        snprintf(name, sizeof name, "http://replica-%zu:8000/v1", i);
        if (pool_add(l->p, name, false, 0, &slot, &fail) != OK)
            return false;
    }
    l->mb = resident_mb() - before;
    l->heap.at = calloc(l->most, sizeof *l->heap.at);
    l->free = calloc(l->most, sizeof *l->free);
    l->at = calloc(l->most, sizeof *l->at);
    l->events = calloc(2 * BATCH + l->most, sizeof *l->events);
    for (; l->n_free < l->most; l->n_free++)
        l->free[l->n_free] = l->most - 1 - l->n_free;
    return true;
}

static void load_free(load *l)
{
    free(l->heap.at);
    free(l->free);
    free(l->at);
    free(l->events);
    pool_destroy(l->p);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void show(const char *what, const char *unit, double *values)
{
    qsort(values, TURNS, sizeof *values, by_size);
    printf("%-24s median %.3f%s, half of the turns %.3f to %.3f, all %.3f to %.3f\n", what,
           values[TURNS / 2], unit, values[TURNS / 4], values[TURNS * 3 / 4], values[0],
           values[TURNS - 1]);
}

int main(int n, char **arguments)
{
    static load few, many;
    double ratios[TURNS], *sums = zipf_sums(PREFIXES, 1);
    size_t requests = n > 3 ? strtoul(arguments[3], NULL, 10) : 1000000;
    size_t turn = requests / TURNS / BATCH * BATCH;
    if (turn == 0 || !load_init(&few, n > 1 ? strtoul(arguments[1], NULL, 10) : 10) ||
        !load_init(&many, n > 2 ? strtoul(arguments[2], NULL, 10) : 1000))
        return 1;
    run_turn(&few, sums, turn);
    run_turn(&many, sums, turn);
    double before = resident_mb();
    for (size_t i = 0; i < TURNS; i++) {
        few.costs_us[i] = run_turn(&few, sums, turn);
        many.costs_us[i] = run_turn(&many, sums, turn);
        ratios[i] = many.costs_us[i] / few.costs_us[i];
    }
    printf("%d turns of %zu requests each, by turns\n", TURNS, turn);
    show("few", " us", few.costs_us);
    show("many", " us", many.costs_us);
    show("many / few", "", ratios);
    printf("%zu replicas: %.1f MB, %zu not placed at once\n", few.replicas, few.mb, few.missed);
    printf("%zu replicas: %.1f MB, %zu not placed at once\n", many.replicas, many.mb, many.missed);
    printf("grown by %.1f MB in these requests\n", resident_mb() - before);
    load_free(&few);
    load_free(&many);
    free(sums);
    return 0;
}
