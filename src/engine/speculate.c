#include "engine/speculate.h"

#define LEARNING_RATE 0.1 /* of the running mean of a step's cost */
#define PRIOR_WEIGHT 8.0  /* the pooled estimate counts as so many drafted tokens */
#define MEMORY 256.0      /* a pooled estimate forgets beyond so many tokens */

void step_cost_learn(step_cost *c, size_t rows, double ms)
{
    if (rows == 0 || rows > STEP_COST_ROWS)
        return;
    double *mean = &c->ms[rows];
    *mean = *mean == 0 ? ms : *mean + LEARNING_RATE * (ms - *mean);
}

double step_cost_of(const step_cost *c, size_t rows)
{
    if (rows <= STEP_COST_ROWS && c->ms[rows] > 0)
        return c->ms[rows];
    size_t below = rows > STEP_COST_ROWS ? STEP_COST_ROWS : rows, above = rows;
    while (below > 0 && c->ms[below] == 0)
        below--;
    while (above <= STEP_COST_ROWS && c->ms[above] == 0)
        above++;
    if (below == 0)
        return above <= STEP_COST_ROWS ? c->ms[above] : 1.0;
    if (above <= STEP_COST_ROWS) {
        double part = (double)(rows - below) / (double)(above - below);
        return c->ms[below] + part * (c->ms[above] - c->ms[below]);
    }
    /* Nothing larger was measured: assume that more rows cost in proportion. */
    return c->ms[below] * (double)rows / (double)below;
}

static size_t match_class(size_t match)
{
    return match >= 6 ? 1 : 0;
}

acceptance acceptance_from_prior(const acceptance *prior)
{
    acceptance a;
    for (size_t i = 0; i < 2; i++) {
        /* One acceptance in two before anything is known. */
        double rate = (prior->accepted[i] + 1.0) / (prior->tried[i] + 2.0);
        a.tried[i] = PRIOR_WEIGHT;
        a.accepted[i] = PRIOR_WEIGHT * rate;
    }
    return a;
}

void acceptance_learn(acceptance *a, size_t match, size_t drafted, size_t accepted)
{
    size_t i = match_class(match);
    a->accepted[i] += (double)accepted;
    a->tried[i] += (double)(accepted < drafted ? accepted + 1 : accepted);
    if (a->tried[i] > MEMORY) {
        a->accepted[i] *= 0.5;
        a->tried[i] *= 0.5;
    }
}

size_t speculate_length(const step_cost *c, const acceptance *a, size_t match, size_t rows,
                        size_t max)
{
    size_t i = match_class(match);
    double rate = a->tried[i] > 0 ? a->accepted[i] / a->tried[i] : 0.5;
    double expected = 1.0, all_accepted = 1.0;
    double best_speed = expected / step_cost_of(c, rows);
    size_t best = 0;
    for (size_t k = 1; k <= max; k++) {
        all_accepted *= rate;
        expected += all_accepted;
        double speed = expected / step_cost_of(c, rows + k);
        if (speed > best_speed) {
            best_speed = speed;
            best = k;
        }
    }
    return best;
}
