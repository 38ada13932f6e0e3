/* team_loop.c: pieces of work shared out among the threads of a team while they run. */
#include "kernel/kernel.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/aligned.h"

enum {
    CACHE_LINE = 64,
    TURNS = 3,
    BATCH_SHARE = 4, /* of what its own part has left, a thread takes this fraction at once */
    FEW = 16,        /* pieces of a part of which most are nobody else's */
};

/* Pieces that a thread has taken and not begun. */
typedef struct batch {
    size_t next, end;
} batch;

/* How many pieces of one thread's part have been taken, by itself or by others, of those that
 * others may take. Loops use the counters in turns. While one counts, others may still look at the
 * one of the loop before, and the third is zero: whoever comes first to the next loop meets zeros
 * there. The batches, which only their own thread changes, take the same turns: at a loop's end
 * they are empty. */
typedef struct share {
    _Alignas(CACHE_LINE) atomic_size_t taken[TURNS];
    _Alignas(CACHE_LINE) batch batches[TURNS];
    bool begun[TURNS]; /* the batch has been the pieces that are its thread's alone */
    unsigned turn;     /* only its own thread reads it */
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
        l->shares = aligned_array((size_t)n_threads, sizeof *l->shares);
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

/* Of n pieces those that are one thread's; [begin, end) is the part that others may take too. */
typedef struct part {
    size_t first, begin, end;
} part;

/* Taking is an atomic addition, which lets nothing begin before all that came earlier is finished:
 * a product would run dry at each piece. So a thread begins with pieces that nobody else can take;
 * of a long part half, so that others can help. */
static part part_of(size_t n, size_t thread, size_t threads)
{
    size_t first = n * thread / threads, end = n * (thread + 1) / threads, own = end - first;
    return (part){first, first + (own <= FEW ? own - own / 4 : own / 2), end};
}

/* What then is left is taken several at a time from a thread's own part, fewer and fewer, and one
 * by one from others'. */
static void take_from(team_loop *l, size_t thread, size_t victim, size_t n)
{
    part p = part_of(n, victim, (size_t)l->n_threads);
    share *own = &l->shares[thread];
    atomic_size_t *taken = &l->shares[victim].taken[own->turn];
    size_t before = atomic_load_explicit(taken, memory_order_relaxed);
    if (before >= p.end - p.begin)
        return; /* without this, a counter would grow for ever */
    size_t left = p.end - p.begin - before;
    size_t count = victim == thread && left > BATCH_SHARE ? left / BATCH_SHARE : 1;
    size_t begin = p.begin + atomic_fetch_add_explicit(taken, count, memory_order_relaxed);
    if (begin < p.end)
        own->batches[own->turn] = (batch){begin, p.end - begin < count ? p.end : begin + count};
}

/* The pieces that are the thread's alone. */
static void begin_part(team_loop *l, size_t thread, size_t n)
{
    share *own = &l->shares[thread];
    part p = part_of(n, thread, (size_t)l->n_threads);
    own->begun[own->turn] = true;
    own->batches[own->turn] = (batch){p.first, p.begin};
}

bool team_take(team_loop *l, int thread, size_t n, size_t *piece)
{
    size_t self = (size_t)thread, threads = (size_t)l->n_threads;
    batch *own = &l->shares[thread].batches[l->shares[thread].turn];
    if (!l->shares[thread].begun[l->shares[thread].turn])
        begin_part(l, self, n);
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
        part p = part_of(n, i, threads);
        if ((!s->begun[turn] && p.first < p.begin) ||
            s->batches[turn].next < s->batches[turn].end ||
            atomic_load_explicit(&s->taken[turn], memory_order_relaxed) < p.end - p.begin)
            return true;
    }
    return false;
}

void team_loop_next(team_loop *l, int thread)
{
    share *own = &l->shares[thread];
    own->turn = (own->turn + 1) % TURNS;
    unsigned after = (own->turn + 1) % TURNS;
    atomic_store_explicit(&own->taken[after], 0, memory_order_relaxed);
    own->begun[after] = false;
}
