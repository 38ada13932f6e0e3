/* team_loop.c: pieces of work shared out among the threads of a team while they run. */
#include "kernel/kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_LINE = 64,
    TURNS = 3,
    BATCH_SHARE = 4, /* of what its own part has left, a thread takes this fraction at once */
};

/* Pieces that a thread has taken and not begun. */
typedef struct batch {
    size_t next, end;
} batch;

/* How many pieces of one thread's part have been taken, by itself or by others. Loops use the
 * counters in turns. While one counts, others may still look at the one of the loop before, and the
 * third is zero: whoever comes first to the next loop meets zeros there. The batches, which only
 * their own thread changes, take the same turns: at a loop's end they are empty. */
typedef struct share {
    _Alignas(CACHE_LINE) atomic_size_t taken[TURNS];
    _Alignas(CACHE_LINE) batch batches[TURNS];
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

/* Taking is an atomic addition, which lets nothing begin before all that came earlier is finished:
 * a product would run dry at each piece. So a thread takes several at once from its own part, fewer
 * and fewer, and one at a time from others'. */
static void take_from(team_loop *l, size_t thread, size_t victim, size_t n)
{
    size_t threads = (size_t)l->n_threads;
    share *own = &l->shares[thread];
    size_t begin = n * victim / threads, end = n * (victim + 1) / threads;
    atomic_size_t *taken = &l->shares[victim].taken[own->turn];
    size_t before = atomic_load_explicit(taken, memory_order_relaxed);
    if (before >= end - begin)
        return; /* without this, a counter would grow for ever */
    size_t left = end - begin - before;
    size_t count = victim == thread && left > BATCH_SHARE ? left / BATCH_SHARE : 1;
    begin += atomic_fetch_add_explicit(taken, count, memory_order_relaxed);
    if (begin < end)
        own->batches[own->turn] = (batch){begin, end - begin < count ? end : begin + count};
}

bool team_take(team_loop *l, int thread, size_t n, size_t *piece)
{
    size_t self = (size_t)thread, threads = (size_t)l->n_threads;
    batch *own = &l->shares[thread].batches[l->shares[thread].turn];
    for (size_t i = 0; i < threads && own->next == own->end; i++)
        take_from(l, self, (self + i) % threads, n);
    if (own->next == own->end)
        return false;
    *piece = own->next++;
    return true;
}

bool team_loop_unfinished(const team_loop *l, int thread, size_t n)
{
    size_t threads = (size_t)l->n_threads;
    unsigned turn = l->shares[thread].turn;
    for (size_t i = 0; i < threads; i++) {
        const share *s = &l->shares[i];
        if (s->batches[turn].next < s->batches[turn].end ||
            atomic_load_explicit(&s->taken[turn], memory_order_relaxed) <
                n * (i + 1) / threads - n * i / threads)
            return true;
    }
    return false;
}

void team_loop_next(team_loop *l, int thread)
{
    share *own = &l->shares[thread];
    own->turn = (own->turn + 1) % TURNS;
    atomic_store_explicit(&own->taken[(own->turn + 1) % TURNS], 0, memory_order_relaxed);
}
