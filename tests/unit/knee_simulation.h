/*
 * knee_simulation.h: a replica that is as fast as it can be up to so many requests at once, and
 * what a limit in flight gets out of it. For tests and benches.
 */
#ifndef TESTS_KNEE_SIMULATION_H
#define TESTS_KNEE_SIMULATION_H

#include "backend/pool_limit.h"
#include "base/random.h"

/* A replica that works on `knee` requests at full speed; beyond, they share, and lose a part. */
typedef struct knee {
    double knee, work_ms, loss;
} knee;

enum { MOST_AT_ONCE = 256 };

/* Requests that end in a given time, within twice their idle delay; with always enough to do.
 * `limit`: a fixed one; 0: what `l` says. */
static inline size_t knee_goodput(pool_limit *l, size_t limit, const knee *k, double for_ms,
                                  uint64_t seed)
{
    static double left[MOST_AT_ONCE], began_ms[MOST_AT_ONCE];
    static size_t with[MOST_AT_ONCE];
    size_t n = 0, good = 0;
    uint64_t drawn = 0;
    for (double now_ms = 0; now_ms < for_ms;) {
        size_t most = limit > 0 ? limit : pool_limit_now(l);
        for (; n < most && n < MOST_AT_ONCE; n++) {
            left[n] = k->work_ms * (0.5 + random_uniform(seed, 7, drawn++));
            began_ms[n] = now_ms;
            with[n] = n + 1;
        }
        double over = (double)n > k->knee ? (double)n - k->knee : 0;
        double speed = over > 0 ? k->knee / (double)n / (1 + k->loss * over) : 1;
        size_t first = 0;
        for (size_t i = 1; i < n; i++)
            first = left[i] < left[first] ? i : first;
        double step_ms = left[first] / speed;
        now_ms += step_ms;
        for (size_t i = 0; i < n; i++)
            left[i] -= step_ms * speed;
        double took_ms = now_ms - began_ms[first];
        good += took_ms <= 2 * k->work_ms;
        if (limit == 0)
            pool_limit_done(l, n > with[first] ? n : with[first], 0, took_ms);
        n--;
        left[first] = left[n];
        began_ms[first] = began_ms[n];
        with[first] = with[n];
    }
    return good;
}

/* The best of the fixed limits near the knee. */
static inline size_t knee_best_goodput(const knee *k, double for_ms, uint64_t seed)
{
    size_t best = 0;
    for (size_t limit = (size_t)(0.8 * k->knee); (double)limit <= 1.6 * k->knee; limit++) {
        size_t good = knee_goodput(NULL, limit, k, for_ms, seed);
        best = good > best ? good : best;
    }
    return best;
}

#endif
