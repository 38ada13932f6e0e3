/* team_loop.c: pieces of work shared out among the threads of a team while they run. */
#include "kernel/kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LINE = 64, TURNS = 3 };

/* How many pieces of one thread's part have been taken, by itself or by others. Loops use the
 * counters in turns. While one counts, others may still look at the one of the loop before, and the
 * third is zero: whoever comes first to the next loop meets zeros there. */
typedef struct share {
    _Alignas(CACHE_LINE) atomic_size_t taken[TURNS];
    unsigned turn; /* only its own thread reads it */
} share;

struct team_loop {
    int n_threads;
    share *shares;
};

error_code team_loop_create(team_loop **out, int n_threads, failure *fail)
{
    *out = NULL;
    team_loop *l = calloc(1, sizeof *l);
    if (l != NULL)
        l->shares = aligned_alloc(CACHE_LINE, (size_t)n_threads * sizeof *l->shares);
    if (l == NULL || l->shares == NULL) {
        team_loop_destroy(l);
        return failure_set(fail, ERR_MEMORY, "no memory to share work among %d threads", n_threads);
    }
    memset(l->shares, 0, (size_t)n_threads * sizeof *l->shares);
    l->n_threads = n_threads;
    *out = l;
    return OK;
}

void team_loop_destroy(team_loop *l)
{
    if (l == NULL)
        return;
    free(l->shares);
    free(l);
}

static bool take_from(const team_loop *l, size_t victim, unsigned turn, size_t n, size_t *piece)
{
    size_t threads = (size_t)l->n_threads;
    size_t begin = n * victim / threads, end = n * (victim + 1) / threads;
    atomic_size_t *taken = &l->shares[victim].taken[turn];
    if (atomic_load_explicit(taken, memory_order_relaxed) >= end - begin)
        return false; /* without this, a counter would grow for ever */
    *piece = begin + atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
    return *piece < end;
}

bool team_take(team_loop *l, int thread, size_t n, size_t *piece)
{
    size_t threads = (size_t)l->n_threads;
    unsigned turn = l->shares[thread].turn;
    for (size_t i = 0; i < threads; i++)
        if (take_from(l, ((size_t)thread + i) % threads, turn, n, piece))
            return true;
    return false;
}

bool team_loop_unfinished(const team_loop *l, int thread, size_t n)
{
    size_t threads = (size_t)l->n_threads;
    unsigned turn = l->shares[thread].turn;
    for (size_t i = 0; i < threads; i++)
        if (atomic_load_explicit(&l->shares[i].taken[turn], memory_order_relaxed) <
            n * (i + 1) / threads - n * i / threads)
            return true;
    return false;
}

void team_loop_next(team_loop *l, int thread)
{
    share *own = &l->shares[thread];
    own->turn = (own->turn + 1) % TURNS;
    atomic_store_explicit(&own->taken[(own->turn + 1) % TURNS], 0, memory_order_relaxed);
}
