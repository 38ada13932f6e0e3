/*
 * pool_breaker.h: whether a replica is asked at all.
 *
 * Closed: it is. Failures open it: then it is not, for a time that doubles with each opening in a
 * row. After that one request is let through (half-open), and what comes of it decides. Once closed
 * again it has a small share of the work at first (slow start). No clock: the time is passed in, in
 * milliseconds; no lock: one thread at a time.
 */
#ifndef BACKEND_POOL_BREAKER_H
#define BACKEND_POOL_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

typedef enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN } breaker_state;

/* Small: a choice looks at many of them. */
typedef struct pool_breaker {
    double at_ms; /* open: when it may be tried; closed: since when, -INFINITY: for long */
    float slow_start_ms;
    uint8_t state;    /* breaker_state */
    uint8_t failures; /* in a row, as far as they count */
    uint8_t openings; /* likewise */
    bool is_tried;    /* half-open: the one request is under way */
} pool_breaker;

#define BREAKER_FAILURES 5 /* in a row */
#define BREAKER_FIRST_MS 500.0
#define BREAKER_LONGEST_MS 30000.0

/* `is_new`: its share is small at first. */
void pool_breaker_init(pool_breaker *b, double slow_start_ms, bool is_new, double now_ms);
/* What pool_breaker_allows says of one that is not closed: half-open when its time has come. */
bool pool_breaker_allows_again(pool_breaker *b, double now_ms);
/* Whether a request may go to it. */
static inline bool pool_breaker_allows(pool_breaker *b, double now_ms)
{
    return b->state == BREAKER_CLOSED || pool_breaker_allows_again(b, now_ms);
}
/* A request goes to it. */
void pool_breaker_begin(pool_breaker *b);
/* It was asked and answered, if only with a refusal. */
void pool_breaker_succeed(pool_breaker *b, double now_ms);
/* `is_gone`: nobody is there, so that this one failure is enough. `jitter`: 0 … 1, so that many
 * routers do not come back at the same moment. */
void pool_breaker_fail(pool_breaker *b, bool is_gone, double jitter, double now_ms);
/* The request that was let through told nothing: it was cancelled. */
void pool_breaker_forget(pool_breaker *b);
/* What pool_breaker_share says of one that opened or is new. */
double pool_breaker_small_share(const pool_breaker *b, double now_ms);
/* Of a full share of the work, 0 < share <= 1. */
static inline double pool_breaker_share(const pool_breaker *b, double now_ms)
{
    bool is_whole = b->state == BREAKER_CLOSED && now_ms - b->at_ms >= b->slow_start_ms;
    return is_whole ? 1 : pool_breaker_small_share(b, now_ms);
}

#endif
