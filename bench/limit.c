/* limit.c: what a learned limit in flight gets of the best fixed one's goodput, beside replicas
 * whose knees move: `limit [SEED [ROWS]]`, 1 and 12. Each row draws five knees (4 to 100 requests)
 * and what a request takes (20 to 500 ms), and runs them for each loss; the constants of
 * pool_limit.c were chosen with seed 1, so that others tell what they are worth. Simulated. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "unit/knee_simulation.h"

enum { PHASES = 5, WORKS_A_PHASE = 1200, LOSSES = 5, MOST_ROWS = 100 };
static const double losses[LOSSES] = {0, 0.005, 0.01, 0.02, 0.03};

static double draw_between(double least, double most, uint64_t seed, uint64_t i)
{
    return least * pow(most / least, random_uniform(seed, 11, i));
}

/* All phases together, of the best fixed limit of each. */
static double run_row(uint64_t seed, size_t row, double loss)
{
    size_t good = 0, best = 0;
    pool_limit l;
    pool_limit_init(&l, 0);
    double work_ms = draw_between(20, 500, seed, row);
    for (size_t i = 0; i < PHASES; i++) {
        uint64_t number = 1000 + row * PHASES + i;
        knee k = {draw_between(4, 100, seed, number), work_ms, loss};
        good += knee_goodput(&l, 0, &k, WORKS_A_PHASE * work_ms, seed * 1000 + number);
        best += knee_best_goodput(&k, WORKS_A_PHASE * work_ms, seed * 1000 + number);
    }
    return (double)good / (double)best;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int main(int n, char **arguments)
{
    uint64_t seed = n > 1 ? strtoull(arguments[1], NULL, 10) : 1;
    size_t rows = n > 2 ? strtoul(arguments[2], NULL, 10) : 12;
    double of_best[MOST_ROWS];
    if (rows < 1 || rows > MOST_ROWS)
        return 2;
    for (size_t w = 0; w < LOSSES; w++) {
        for (size_t row = 0; row < rows; row++)
            of_best[row] = run_row(seed, row, losses[w]);
        qsort(of_best, rows, sizeof *of_best, compare);
        printf("seed %2llu, loss %.3f: %.3f of the best fixed limits' goodput (%.3f to %.3f, %zu "
               "rows)\n",
               (unsigned long long)seed, losses[w], of_best[rows / 2], of_best[0],
               of_best[rows - 1], rows);
    }
    return 0;
}
