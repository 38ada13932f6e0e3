/*
 * pool_limit.h: how many requests a replica should have at once, learned from what it does.
 *
 * A request's delay beside what it is when the replica has little to do tells how many of those in
 * flight only wait (TCP Vegas): limit x (1 - idle delay / delay). Few: the limit grows, at first
 * twofold, then by a twentieth, and by more with each window in a row; many: it comes down to what
 * does not wait. A refusal brings it to what the replica had. What an idle delay is, is learned
 * whenever there are no more than half as many as allowed, and where that does not happen by
 * itself, by allowing half for a moment from time to time. Delays are compared within classes, as
 * prompts of one size have like ones. No clock: delays are passed in; no lock: one thread at a
 * time.
 */
#ifndef BACKEND_POOL_LIMIT_H
#define BACKEND_POOL_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

#define LIMIT_CLASSES 8

typedef struct pool_limit {
    double limit;
    bool is_fixed;
    bool is_probing;  /* half is allowed for a moment: idle delays are learned */
    bool is_starting; /* grows twofold: it has not been too much yet */
    /* Of the window. */
    double sum_ms, sum_idle_ms;
    size_t n;
    bool was_full;
    /* Of idle delays: those of requests with no more than quiet_most in flight. */
    double idle_ms[LIMIT_CLASSES], old_idle_ms[LIMIT_CLASSES]; /* 0: not known */
    double quiet_most;
    unsigned grown;   /* windows in a row after which the limit grew */
    unsigned windows; /* since they were last learned */
    size_t quiet;     /* how many were since then */
    double growth;    /* of delays at the probe's latest step, beside what was known; 0: none yet */
} pool_limit;

void pool_limit_init(pool_limit *l, size_t fixed); /* 0: learned */
/* At least 1. */
static inline size_t pool_limit_now(const pool_limit *l)
{
    double now = l->is_probing ? l->limit / 2 : l->limit;
    return now > 1 ? (size_t)now : 1;
}
/* A request's delay; `in_flight`: how many there were with it, at its begin or its end, whichever
 * is more. */
void pool_limit_done(pool_limit *l, size_t in_flight, size_t class, double ms);
/* A request was refused; `in_flight`: how many others there were. */
void pool_limit_refused(pool_limit *l, size_t in_flight);
/* The class of a prompt of so many bytes. */
size_t pool_limit_class(size_t bytes);

#endif
