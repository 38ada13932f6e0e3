/* statistics.c: medians, their spread, and a hash of tokens. */
#include "measure/measure.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

spread spread_of(const double *samples, size_t n)
{
    double sorted[MEASURE_MAX_RUNS];
    memcpy(sorted, samples, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    return (spread){sorted[0], (sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[n - 1]};
}

uint64_t token_hash(const int32_t *ids, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        for (unsigned byte = 0; byte < 4; byte++)
            hash = (hash ^ (((uint32_t)ids[i] >> (8 * byte)) & 0xff)) * 0x100000001b3u;
    return hash;
}
