/*
 * histogram.h: how often a time was at most so long, as Prometheus counts it. Inside the server
 * room only; whoever owns one guards it.
 */
#ifndef SERVER_HISTOGRAM_H
#define SERVER_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 17

/* Upper bounds in seconds, from a step of a tiny model to a long answer in a queue. */
extern const double histogram_bounds[HISTOGRAM_BOUNDS];

typedef struct histogram {
    uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* of each range alone; the last has no upper bound */
    double sum_ms;
    uint64_t count;
} histogram;

void histogram_add(histogram *h, double ms);

#endif
