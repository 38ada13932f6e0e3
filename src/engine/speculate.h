/*
 * speculate.h: how many draft tokens a step should carry, and whose.
 *
 * The lengths that maximise expected tokens per second, (n + Σ E[accepted | k]) / T(rows + Σ k)
 * over the n sequences of a step, where T(n) is the measured cost of a step of n rows and
 * acceptance is estimated per sequence from what was sampled (with the intent's pooled estimate as
 * prior). No draft at all is a normal answer. It only ever changes speed: verification decides what
 * is said. All on the conductor's thread.
 */
#ifndef ENGINE_SPECULATE_H
#define ENGINE_SPECULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/lookup.h"

/* ---- what steps cost ------------------------------------------------------------------------ */

#define STEP_COST_ROWS ENGINE_STEP_ROWS

/* T(n): a running mean for each n; where n was never measured, what the neighbours say. */
typedef struct step_cost {
    double ms[STEP_COST_ROWS + 1]; /* [n]; 0: never measured */
    bool fixed;                    /* steps that run teach it nothing */
} step_cost;

void step_cost_learn(step_cost *c, size_t rows, double ms);
double step_cost_of(const step_cost *c, size_t rows);

/* ---- acceptance ----------------------------------------------------------------------------- */

#define ACCEPTANCE_CLASSES 9

/* How often a drafted token was what came, by the length of the match before it: the draft's own
 * accepted tokens lengthen the match. Tokens after the first refused one were never judged, so a
 * fully accepted draft counts as "at least so many". */
typedef struct acceptance {
    double tried[ACCEPTANCE_CLASSES];
    double accepted[ACCEPTANCE_CLASSES];
} acceptance;

/* ---- a sequence's draft --------------------------------------------------------------------- */

typedef struct draft {
    lookup_setting setting;
    lookup *lookup; /* NULL when off */
    acceptance own;
    acceptance *pool; /* of all sequences of the same intent; NULL: none */
    int32_t tokens[LOOKUP_MAX_DRAFT];
    size_t n_found;   /* tokens; sent, then only thought of */
    size_t n_sent;    /* of them in the step */
    size_t match;     /* length of the match that gave it */
    size_t n_certain; /* of those found, that a grammar lets nothing else come in place of */
    /* drafts_choose's: */
    size_t tried;   /* tokens it would send */
    double reached; /* probability that all of them are accepted */
    double gain;    /* expected tokens by one more; 0: there is none */
} draft;

/* The lookup setting's draft for a sequence of up to max_tokens. */
error_code draft_init(draft *d, const lookup_setting *setting, acceptance *pool, size_t max_tokens,
                      failure *fail);
void draft_free(draft *d);

/* Finds up to `most` tokens that may follow; none of them is sent yet. */
void draft_find(draft *d, const int32_t *tokens, size_t n_tokens, size_t most);
/* Forgets the last draft, before a draft model's guesses are put into `tokens`, one after the
 * other.
 */
void draft_begin(draft *d);
/* Drafts tokens that are certain in place of what was found. n ≤ LOOKUP_MAX_DRAFT. */
void draft_force(draft *d, const int32_t *tokens, size_t n);
/* The probability that the first n tokens of a draft are accepted. */
double draft_reach(const draft *d, size_t n);
/* Nothing follows this many. */
void draft_cut(draft *d, size_t n);

/* Decides how much of each draft a step carries that has `rows` rows without them (one a sequence
 * at least) and room for max_rows more. */
void drafts_choose(draft *const *drafts, size_t n, const step_cost *c, size_t rows,
                   size_t max_rows);

/* Was the draft right about the token sampled `at` places from where it begins? */
bool draft_foresaw(const draft *d, size_t at, int32_t token);
/* Of the found tokens the first `followed` were sampled, and `judged` were compared. */
void draft_learn(draft *d, size_t judged, size_t followed);

#endif
