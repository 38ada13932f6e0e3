/* delay.c: a running mean that is forgotten. */
#include "orchestra/delay.h"

#include <math.h>
#include <stdatomic.h>

#define KEPT 0.75         /* of the mean, beside the newest reply's fourth */
#define HALF_LIFE_MS 30e3 /* of what is known, without news */

/* 0 < share <= 1: how far what is known is still believed. */
static double belief(const delay_meter *m, double now_ms)
{
    double age_ms = now_ms - atomic_load(&m->noted_ms);
    return exp2(-fmax(age_ms, 0) / HALF_LIFE_MS);
}

/* What is old weighs less beside what is new. Two at once may lose one: it is a mean. */
void delay_note(delay_meter *m, double ms, double now_ms)
{
    double before = atomic_load(&m->mean_ms), kept = KEPT * belief(m, now_ms);
    atomic_store(&m->mean_ms, before > 0 ? ms + (before - ms) * kept : ms);
    atomic_store(&m->noted_ms, now_ms);
}

double delay_expected(const delay_meter *m, const backend_load *l, double now_ms)
{
    bool is_full = l->slots > 0 && l->running >= l->slots;
    return atomic_load(&m->mean_ms) * belief(m, now_ms) + (is_full ? 1e3 * l->retry_after_s : 0);
}
