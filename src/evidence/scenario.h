/*
 * scenario.h: named mixes of labelled tasks.
 *
 *   A  70 % code, 20 % qa, 10 % math        B  30 % code, 40 % qa, 30 % math
 *   C  50 % long (code behind a long text), 50 % qa
 *
 * as published (arXiv 2604.09752, Table 4).
 */
#ifndef EVIDENCE_SCENARIO_H
#define EVIDENCE_SCENARIO_H

#include <stdint.h>

#include "evidence/task.h"

typedef struct scenario_part {
    const char *kind; /* NULL ends the list */
    unsigned percent;
} scenario_part;

typedef struct scenario {
    const char *name;
    scenario_part parts[4];
} scenario;

/* ERR_NOT_FOUND lists the names. */
error_code scenario_find(const scenario **out, const char *name, failure *fail);

/* Every task belongs to one of two halves, by its text: what is learnt on one half may be measured
 * on the other. */
typedef enum scenario_half { BOTH_HALVES, FIRST_HALF, SECOND_HALF } scenario_half;

typedef struct scenario_draw_options {
    size_t n;
    uint64_t seed;
    scenario_half half;
    const task_list *pool; /* what is drawn from: a trace, or the built-in set */
} scenario_draw_options;

/* Appends n tasks in the scenario's shares (the largest remainders get what is left over), in an
 * order that the seed gives. ERR_INVALID when the pool has too few of a kind. */
error_code scenario_draw(const scenario *s, const scenario_draw_options *options, task_list *out,
                         failure *fail);

#endif
