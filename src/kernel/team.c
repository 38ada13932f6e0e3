/*
 * team.c: one team of threads that meet at barriers.
 *
 * Waiting is bounded three times over: spin (a barrier inside a forward pass ends within
 * microseconds), then yield (somebody else needs the core), then, for workers between jobs, sleep
 * in the kernel on the job counter. A team with more threads than cores never spins.
 */
#include "kernel/kernel.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/aligned.h"
#include "base/log.h"
#include "kernel/cpu_quota.h"

enum {
    MAX_THREADS = 1024,
    SPIN_ROUNDS = 2000,  /* some tens of microseconds */
    YIELD_ROUNDS = 1000, /* then a worker between jobs sleeps */
    CACHE_LINE = 64,
};

typedef struct worker {
    pthread_t id;
    team *of;
    int thread;
} worker;

struct team {
    int n_threads;
    int spin_rounds;
    team_work *work; /* written before `job` moves on, read after */
    void *context;
    bool ending;
    worker *workers; /* n_threads − 1 of them */

    /* What everybody polls, a cache line each. */
    _Alignas(CACHE_LINE) atomic_uint job;   /* counts team_run calls; a futex */
    _Alignas(CACHE_LINE) atomic_int asleep; /* workers in or about to enter the futex */
    _Alignas(CACHE_LINE) atomic_int arrived;
    _Alignas(CACHE_LINE) atomic_uint phase; /* of the barrier: moves on when all have arrived */
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits until *counter is no longer `old`: spins, then yields at most `yields` times. False when it
 * gave up. */
static bool wait_change(atomic_uint *counter, unsigned old, int spins, int yields)
{
    for (int i = 0; i < spins; i++) {
        if (atomic_load_explicit(counter, memory_order_acquire) != old)
            return true;
        relax();
    }
    for (int i = 0; i < yields; i++) {
        if (atomic_load_explicit(counter, memory_order_acquire) != old)
            return true;
        sched_yield();
    }
    return false;
}

static void wait_job(team *t, unsigned old)
{
    if (wait_change(&t->job, old, t->spin_rounds, YIELD_ROUNDS))
        return;
    /* Sequentially consistent on both sides: either team_start sees this worker in `asleep`, or the
     * futex sees the new job and does not sleep. */
    atomic_fetch_add(&t->asleep, 1);
    while (atomic_load(&t->job) == old)
        syscall(SYS_futex, &t->job, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&t->asleep, 1);
}

static void team_start(team *t)
{
    atomic_fetch_add(&t->job, 1);
    if (atomic_load(&t->asleep) > 0)
        syscall(SYS_futex, &t->job, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void team_barrier(team *t)
{
    if (t->n_threads == 1)
        return;
    unsigned phase = atomic_load_explicit(&t->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) == t->n_threads - 1) {
        atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&t->phase, phase + 1, memory_order_release);
        return;
    }
    while (!wait_change(&t->phase, phase, t->spin_rounds, YIELD_ROUNDS))
        ;
}

static void *worker_main(void *argument)
{
    const worker *self = argument;
    team *t = self->of;
    for (unsigned job = 0;; job++) {
        wait_job(t, job);
        if (t->ending)
            return NULL;
        t->work(t->context, self->thread, t->n_threads);
        team_barrier(t);
    }
}

void team_run(team *t, team_work *work, void *context)
{
    if (t->n_threads > 1) {
        t->work = work;
        t->context = context;
        team_start(t);
    }
    work(context, 0, t->n_threads);
    team_barrier(t);
}

/* Ends and joins the first n workers. */
static void end_workers(team *t, int n)
{
    t->ending = true;
    team_start(t);
    for (int i = 0; i < n; i++)
        pthread_join(t->workers[i].id, NULL);
}

static void team_free(team *t)
{
    free(t->workers);
    free(t);
}

/* What the system lets this process use, as it was when first asked for: it stands in dozens of
 * files, which nobody wants read with every matrix that is packed. */
typedef struct allowance {
    double cpus; /* of the affinity mask, within the quota */
    int cores;   /* whole ones, siblings counted once */
} allowance;

static allowance allowed;
static pthread_once_t allowed_once = PTHREAD_ONCE_INIT;

/* The lowest CPU that shares a core with `cpu` (itself where the system does not say). The list
 * reads like "3,7" or "6-7": its first number is the lowest. */
static size_t first_sibling(size_t cpu)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%zu/topology/thread_siblings_list",
             cpu);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return cpu;
    size_t first;
    if (fscanf(file, "%zu", &first) != 1 || first >= CPU_SETSIZE)
        first = cpu;
    fclose(file);
    return first;
}

static int count_cores(const cpu_set_t *cpus)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, cpus))
            CPU_SET(first_sibling(cpu), &cores);
    return CPU_COUNT(&cores);
}

static void read_allowance(void)
{
    cpu_set_t cpus;
    double quota = cpu_quota("");
    bool known = sched_getaffinity(0, sizeof cpus, &cpus) == 0;
    allowed.cpus = fmin(known ? CPU_COUNT(&cpus) : 1, quota);
    double n = floor(fmin(known ? count_cores(&cpus) : 1, quota));
    allowed.cores = (int)fmin(fmax(n, 1), MAX_THREADS);
}

static const allowance *own_allowance(void)
{
    pthread_once(&allowed_once, read_allowance);
    return &allowed;
}

static void warn_of_many(int n_threads)
{
    int cores = own_allowance()->cores;
    if (n_threads > cores)
        log_warn("%d threads, but this process may use %d %s: more make it slower", n_threads,
                 cores, cores == 1 ? "core" : "cores");
}

error_code team_create(team **out, int n_threads, failure *fail)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > MAX_THREADS)
        return failure_set(fail, ERR_INVALID, "%d threads: give a number from 1 to %d", n_threads,
                           MAX_THREADS);
    team *t = aligned_array(1, sizeof *t);
    if (t == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a team of threads");
    memset(t, 0, sizeof *t);
    t->workers = calloc((size_t)n_threads, sizeof *t->workers);
    if (t->workers == NULL) {
        team_free(t);
        return failure_set(fail, ERR_MEMORY, "no memory for a team of %d threads", n_threads);
    }
    t->n_threads = n_threads;
    /* Spinning takes CPU time that a quota would give to others of the team. */
    t->spin_rounds = n_threads <= own_allowance()->cpus ? SPIN_ROUNDS : 0;
    warn_of_many(n_threads);
    for (int i = 0; i < n_threads - 1; i++) {
        t->workers[i] = (worker){.of = t, .thread = i + 1};
        int error = pthread_create(&t->workers[i].id, NULL, worker_main, &t->workers[i]);
        if (error != 0) {
            end_workers(t, i);
            team_free(t);
            return failure_set(fail, ERR_MEMORY, "cannot start thread %d of %d: %s", i + 1,
                               n_threads, strerror(error));
        }
    }
    *out = t;
    return OK;
}

void team_destroy(team *t)
{
    if (t == NULL)
        return;
    end_workers(t, t->n_threads - 1);
    team_free(t);
}

int team_size(const team *t)
{
    return t->n_threads;
}

int team_default_size(void)
{
    return own_allowance()->cores;
}
