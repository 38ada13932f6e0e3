/* pool_delay.h: quantiles of the latest delays, within 10 %. No clock, no lock. */
#ifndef BACKEND_POOL_DELAY_H
#define BACKEND_POOL_DELAY_H

#include <stdint.h>

#define DELAY_BUCKETS 180 /* each ends 10 % later than the one before: 0.1 ms to 45 minutes */
#define DELAY_LEAST 20    /* delays, before there is a quantile */

typedef struct pool_delay {
    uint16_t counts[DELAY_BUCKETS];
    uint32_t total;
} pool_delay;

void pool_delay_add(pool_delay *d, double ms);
/* The delay that the given part of them does not pass, in milliseconds; INFINITY: too few yet. */
double pool_delay_quantile(const pool_delay *d, double part);

#endif
