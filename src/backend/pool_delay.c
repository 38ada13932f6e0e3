/* pool_delay.c: a histogram whose counts are halved as they grow. */
#include "backend/pool_delay.h"

#include <math.h>

#define FIRST_MS 0.1
#define FULL 1000

void pool_delay_add(pool_delay *d, double ms)
{
    double at = ms > FIRST_MS ? log(ms / FIRST_MS) / log(1.1) : 0;
    d->counts[at < DELAY_BUCKETS - 1 ? (int)at : DELAY_BUCKETS - 1]++;
    if (++d->total < FULL)
        return;
    d->total = 0;
    for (int i = 0; i < DELAY_BUCKETS; i++) {
        d->counts[i] /= 2;
        d->total += d->counts[i];
    }
}

double pool_delay_quantile(const pool_delay *d, double part)
{
    double passed = 0;
    if (d->total < DELAY_LEAST)
        return INFINITY;
    for (int i = 0; i < DELAY_BUCKETS; i++) {
        passed += d->counts[i];
        if (passed >= part * d->total)
            return FIRST_MS * pow(1.1, i + 1);
    }
    return INFINITY;
}
