/* histogram.c: one count a bound. */
#include "server/histogram.h"

const double histogram_bounds[HISTOGRAM_BOUNDS] = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250};

void histogram_add(histogram *h, double ms)
{
    size_t i = 0;
    while (i < HISTOGRAM_BOUNDS && ms > histogram_bounds[i] * 1e3)
        i++;
    h->counts[i]++;
    h->sum_ms += ms;
    h->count++;
}
