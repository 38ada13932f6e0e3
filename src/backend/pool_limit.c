/* pool_limit.c: TCP Vegas for requests. */
#include "backend/pool_limit.h"

#include <math.h>

#define FIRST 8.0
#define MOST 4096.0
#define WINDOW_LEAST 16
#define WINDOWS_A_PROBE 64 /* a probe takes about one of them, at half the pace */
#define QUIET_LEAST 24
#define QUIET_KEPT 32 /* latest idle delays that their mean is of */
#define NEAR 0.25

size_t pool_limit_class(size_t bytes)
{
    size_t class = 0;
    for (size_t most = 1024; class + 1 < LIMIT_CLASSES && bytes > most; most *= 4)
        class ++;
    return class;
}

static void begin_window(pool_limit *l)
{
    l->sum_ms = l->sum_idle_ms = 0;
    l->n = 0;
    l->was_full = false;
}

/* From now on, what an idle delay is, is learned anew: from half as many requests. */
static void begin_probe(pool_limit *l)
{
    l->is_probing = true;
    l->quiet_most = l->limit / 2;
    l->quiet = l->windows = 0;
    l->growth = 0;
    for (size_t i = 0; i < LIMIT_CLASSES; i++)
        l->old_idle_ms[i] = l->idle_ms[i];
    for (size_t i = 0; i < LIMIT_CLASSES; i++)
        l->idle_ms[i] = 0;
}

void pool_limit_init(pool_limit *l, size_t fixed)
{
    *l = (pool_limit){
        .limit = fixed > 0 ? (double)fixed : FIRST, .is_fixed = fixed > 0, .is_starting = true};
    if (fixed == 0)
        begin_probe(l);
}

/* What a probe found is of few requests: what is near what was known only moves it. */
static double settle_idle(double known_ms, double found_ms)
{
    if (found_ms == 0)
        return known_ms;
    bool is_near = fabs(found_ms - known_ms) < NEAR * known_ms;
    return is_near ? known_ms + (found_ms - known_ms) / 4 : found_ms;
}

/* How much longer the delays of this probe are than the known ones. */
static double growth_of(const pool_limit *l)
{
    double found_ms = 0, known_ms = 0;
    for (size_t i = 0; i < LIMIT_CLASSES; i++) {
        if (l->idle_ms[i] == 0 || l->old_idle_ms[i] == 0)
            continue;
        found_ms += l->idle_ms[i];
        known_ms += l->old_idle_ms[i];
    }
    return known_ms > 0 ? found_ms / known_ms : 1;
}

/* Where delays have grown, half as many may still be too many: less and less, until that does not
 * make them shorter. Then the replica has become slower. */
static bool goes_lower(pool_limit *l)
{
    double growth = growth_of(l), before = l->growth;
    l->growth = growth;
    if (growth < 1 + NEAR || l->limit < 4 || (before > 0 && growth > before * (1 - NEAR)))
        return false;
    l->limit /= 2;
    l->quiet_most = l->limit / 2;
    l->quiet = 0;
    for (size_t i = 0; i < LIMIT_CLASSES; i++)
        l->idle_ms[i] = 0;
    return true;
}

static void end_probe(pool_limit *l)
{
    if (goes_lower(l))
        return;
    for (size_t i = 0; i < LIMIT_CLASSES; i++)
        l->idle_ms[i] = settle_idle(l->old_idle_ms[i], l->idle_ms[i]);
    l->is_probing = false;
    l->quiet_most = l->limit / 4; /* not those of the probe that end after it, among others */
    begin_window(l);
}

/* A delay when there was little to do: the mean of the first, then of the latest. */
static void learn_idle(pool_limit *l, size_t class, double ms)
{
    double *idle = &l->idle_ms[class];
    double weight = fmax(1.0 / QUIET_KEPT, 1.0 / (double)++l->quiet);
    *idle = *idle == 0 ? ms : *idle + (ms - *idle) * weight;
    if ((double)l->quiet < fmax(QUIET_LEAST, 0.75 * l->limit))
        return;
    l->windows = 0;
    if (l->is_probing)
        end_probe(l);
}

/* Those in flight that only wait. */
static double waiting_of(const pool_limit *l)
{
    return l->sum_ms > l->sum_idle_ms ? l->limit * (1 - l->sum_idle_ms / l->sum_ms) : 0;
}

/* What a limit grows by that was not too much: twofold at first, later a little, and more with each
 * window in a row that asks for it, as after a knee has moved far up. */
static double growth_step(pool_limit *l)
{
    double part = l->is_starting ? 1 : l->grown < 2 ? 0.05 : l->grown < 4 ? 0.125 : 0.25;
    l->grown++;
    return fmax(1, l->limit * part);
}

static void end_window(pool_limit *l)
{
    double waiting = waiting_of(l), few = 0.5 + l->limit / 28, many = 0.5 + l->limit / 12;
    if (waiting > many) {
        l->limit += (few - waiting) * (waiting > l->limit / 2 ? 0.75 : 0.5);
        l->is_starting = false;
        l->grown = 0;
    } else if (waiting < few && l->was_full) {
        l->limit += growth_step(l);
    } else if (waiting >= few) {
        l->is_starting = false;
        l->grown = 0;
    }
    l->limit = fmin(fmax(l->limit, 1), MOST);
    l->quiet_most = fmin(l->quiet_most, l->limit / 4);
    begin_window(l);
    if (++l->windows >= WINDOWS_A_PROBE && waiting <= many)
        begin_probe(l);
}

/* Far too many are soon seen. */
static bool is_told(const pool_limit *l)
{
    return (double)l->n >= fmax(WINDOW_LEAST, 2.5 * l->limit) ||
           (l->n >= WINDOW_LEAST && waiting_of(l) > l->limit / 2);
}

void pool_limit_done(pool_limit *l, size_t in_flight, size_t class, double ms)
{
    double n = (double)in_flight;
    if (l->is_fixed)
        return;
    if (n <= fmax(l->quiet_most, 1)) {
        learn_idle(l, class, ms);
        return;
    }
    if (l->is_probing || n > l->limit + 1) /* of before: when there were more */
        return;
    if (l->idle_ms[class] == 0)
        l->idle_ms[class] = ms; /* until a better one is known */
    l->sum_ms += ms;
    l->sum_idle_ms += l->idle_ms[class];
    l->was_full |= n + 1 > l->limit;
    l->n++;
    if (is_told(l))
        end_window(l);
}

void pool_limit_refused(pool_limit *l, size_t in_flight)
{
    if (l->is_fixed)
        return;
    l->limit = fmax(1, fmin(l->limit, (double)in_flight));
    l->is_starting = false;
    begin_window(l);
}
