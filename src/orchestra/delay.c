/* delay.c: a running mean that is forgotten. */
#include "orchestra/delay.h"

#include <math.h>
#include <stdatomic.h>

#define SHARE 4           /* of the mean: the newest reply has a fourth */
#define HALF_LIFE_MS 30e3 /* of what is known, without news */

static double mean_now(const delay_meter *m, double now_ms)
{
    double age_ms = now_ms - atomic_load(&m->noted_ms);
    return atomic_load(&m->mean_ms) * exp2(-fmax(age_ms, 0) / HALF_LIFE_MS);
}

/* Two at once may lose one: it is a mean. */
void delay_note(delay_meter *m, double ms, double now_ms)
{
    double before = atomic_load(&m->mean_ms);
    atomic_store(&m->mean_ms, before > 0 ? before + (ms - before) / SHARE : ms);
    atomic_store(&m->noted_ms, now_ms);
}

double delay_expected(const delay_meter *m, const backend_load *l, double now_ms)
{
    bool is_full = l->slots > 0 && l->running >= l->slots;
    return mean_now(m, now_ms) + (is_full ? 1e3 * l->retry_after_s : 0);
}
