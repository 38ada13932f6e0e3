/* rope.c: frequencies: plain, divided by factors, or YaRN's (arXiv 2309.00071). */
#include "model/rope.h"

#include <math.h>

/* The pair that turns `rotations` times over the original context (arXiv 2309.00071 §3.2). */
static double pair_of_rotations(const rope_plan *p, double rotations)
{
    double turn = 2 * acos(-1.0) * rotations;
    return (double)p->dims * log((double)p->original_context / turn) / (2 * log((double)p->base));
}

/* How much of pair i keeps its own frequency: 1 for those that turn often, 0 for those that never
 * completed a turn in training, and a ramp between. */
static double yarn_share(const rope_plan *p, double low, double high, size_t i)
{
    double y = ((double)i - low) / fmax(0.001, high - low);
    return (1 - fmin(1, fmax(0, y))) * (double)p->yarn_mix;
}

void rope_frequencies(const rope_plan *p, const float *factors, double *out)
{
    double low = 0, high = 0;
    if (p->yarn_mix > 0) {
        low = fmax(0, floor(pair_of_rotations(p, (double)p->yarn_beta_fast)));
        high = fmin((double)p->dims - 1, ceil(pair_of_rotations(p, (double)p->yarn_beta_slow)));
    }
    for (size_t i = 0; i < p->dims / 2; i++) {
        double own = pow((double)p->base, -2.0 * (double)i / (double)p->dims);
        if (p->divided && factors != NULL)
            own /= (double)factors[i];
        double share = p->yarn_mix > 0 ? yarn_share(p, low, high, i) : 0;
        out[i] = own * (double)p->scale * (1 - share) + own * share;
    }
}
