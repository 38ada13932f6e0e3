/*
 * pace.h: how long a step will take, so that as much of a prompt is put into it as its budget
 * allows.
 *
 * A step reads every weight once, and the KV of the sequences that decode; its rows are multiplied
 * with the weights meanwhile, and take the step's time when they are more than a few; each prompt
 * row then looks at every position before it:
 *
 *   ms = kv_bytes · byte_ms + max(weight_bytes · byte_ms, rows · row_ms) + pairs · pair_ms
 *
 * The three rates are learned from the steps that ran. All on the conductor's thread.
 *
 * Lookup and drafting ask another question, what one more row of a decode step costs, where a few
 * percent decide; that is T(n) of speculate.h, a running mean for each n. Here the
 * machine as it is now counts, and depth and hundreds of rows, which no table holds.
 */
#ifndef ENGINE_PACE_H
#define ENGINE_PACE_H

#include <stddef.h>

#include "model/model.h"

typedef struct step_work {
    size_t rows;
    size_t prompt_rows; /* of them */
    double pairs;       /* of a prompt row and a position that it sees */
    double kv_bytes;    /* that the decoding rows read */
} step_work;

typedef struct pace {
    double weight_bytes;
    double row_positions; /* so many positions cost a row as much as the weights; a first guess */
    double byte_ms, row_ms, pair_ms; /* 0: never measured */
} pace;

void pace_init(pace *p, const model *m);
/* A step of decoding rows alone tells of bytes, one with prompt rows of rows and pairs. A step that
 * something else on the machine held up changes little. */
void pace_learn(pace *p, const step_work *w, double ms);
/* 0 while nothing was measured. */
double pace_predict(const pace *p, const step_work *w);

/* How long a step may take that has this work of replies and is to be filled up with prompts: these
 * may lengthen it by the budget, and by up to four of them until the replies' own step would be a
 * tenth of it, so that a prompt takes little longer than alone. */
double pace_mixed_ms(const pace *p, const step_work *replies, double budget_ms);

/* The work with n more prompt rows, the first of them at this position. */
step_work step_work_add_prompt(step_work w, size_t position, size_t n);
/* How many prompt rows from this position, `most` at most, fit into a step of so many ms beside the
 * work that is in it. */
size_t pace_fitting_rows(const pace *p, step_work w, size_t position, size_t most, double ms);

#endif
