/* pool_breaker.c: closed, open, half-open, and the slow start after that. */
#include "backend/pool_breaker.h"

#include <math.h>

#define FIRST_SHARE 0.1
#define OPENINGS 10 /* in a row; more are as many */

void pool_breaker_init(pool_breaker *b, double slow_start_ms, bool is_new, double now_ms)
{
    *b =
        (pool_breaker){.slow_start_ms = (float)slow_start_ms, .at_ms = is_new ? now_ms : -INFINITY};
}

bool pool_breaker_allows_again(pool_breaker *b, double now_ms)
{
    if (b->state == BREAKER_OPEN && now_ms >= b->at_ms) {
        b->state = BREAKER_HALF_OPEN;
        b->is_tried = false;
    }
    return b->state == BREAKER_HALF_OPEN && !b->is_tried;
}

void pool_breaker_begin(pool_breaker *b)
{
    b->is_tried = true;
}

void pool_breaker_succeed(pool_breaker *b, double now_ms)
{
    b->failures = b->openings = 0;
    if (b->state != BREAKER_CLOSED)
        b->at_ms = now_ms;
    b->state = BREAKER_CLOSED;
}

void pool_breaker_fail(pool_breaker *b, bool is_gone, double jitter, double now_ms)
{
    if (b->failures < BREAKER_FAILURES)
        b->failures++;
    if (b->state == BREAKER_OPEN) /* requests from before it opened */
        return;
    if (b->state == BREAKER_CLOSED && !is_gone && b->failures < BREAKER_FAILURES)
        return;
    double wait_ms = BREAKER_FIRST_MS * exp2(b->openings);
    if (b->openings < OPENINGS)
        b->openings++;
    b->state = BREAKER_OPEN;
    b->at_ms = now_ms + fmin(wait_ms, BREAKER_LONGEST_MS) * (0.75 + 0.5 * jitter);
}

void pool_breaker_forget(pool_breaker *b)
{
    b->is_tried = false;
}

double pool_breaker_small_share(const pool_breaker *b, double now_ms)
{
    if (b->state != BREAKER_CLOSED)
        return FIRST_SHARE;
    double part = b->slow_start_ms > 0 ? (now_ms - b->at_ms) / b->slow_start_ms : 1;
    return part >= 1 ? 1 : FIRST_SHARE + (1 - FIRST_SHARE) * fmax(part, 0);
}
