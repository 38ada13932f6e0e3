/*
 * speculate.h: how many draft tokens a step should carry.
 *
 * The length k that maximises expected tokens per second, (1 + E[accepted | k]) / T(rows + k),
 * where T(n) is the measured cost of a step of n rows and acceptance is estimated per sequence from
 * what was sampled (with the intent's pooled estimate as prior). k = 0 is a normal answer. It only
 * ever changes speed: verification decides what is said. All on the conductor's thread.
 */
#ifndef ENGINE_SPECULATE_H
#define ENGINE_SPECULATE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"

#define STEP_COST_ROWS (LOOKUP_MAX_DRAFT + 1)

/* T(n): a running mean for each n; where n was never measured, what the neighbours say. */
typedef struct step_cost {
    double ms[STEP_COST_ROWS + 1]; /* [n]; 0: never measured */
} step_cost;

void step_cost_learn(step_cost *c, size_t rows, double ms);
double step_cost_of(const step_cost *c, size_t rows);

/* Acceptance of drafted tokens, apart for short and long matches of the history. */
typedef struct acceptance {
    double tried[2];
    double accepted[2];
} acceptance;

acceptance acceptance_from_prior(const acceptance *prior);
/* What a draft (made or only thought of) met: of `drafted` tokens the first `accepted` were
 * sampled. A fully accepted draft is censored: it says "at least", so it counts no refusal. */
void acceptance_learn(acceptance *a, size_t match, size_t drafted, size_t accepted);

/* The best k ≤ max for a draft found by a match of this length, in a step that has `rows` without
 * it. */
size_t speculate_length(const step_cost *c, const acceptance *a, size_t match, size_t rows,
                        size_t max);

#endif
