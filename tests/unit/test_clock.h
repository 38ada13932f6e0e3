/*
 * test_clock.h: the clock of what is tested in the test's hand: it goes as the machine's does, and
 * forward at a word. The test that includes it defines clock_ms, so that the linker takes nothing
 * of base/clock.c.
 */
#ifndef TEST_CLOCK_H
#define TEST_CLOCK_H

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"

static _Atomic double clock_ahead_ms;

double clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec + atomic_load(&clock_ahead_ms);
}

/* From one thread at a time. Who sleeps until a time is not woken: what is tested must be at work.
 */
static inline void clock_advance(double ms)
{
    atomic_store(&clock_ahead_ms, atomic_load(&clock_ahead_ms) + ms);
}

#endif
