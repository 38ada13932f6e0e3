/*
 * drafter.h: inside the engine room only: a small model that drafts for a large model's replies.
 *
 * It keeps KV of its own for every sequence that it drafts for, follows the tokens that the large
 * model accepted, and guesses the next ones one after the other, with the sequence's own sampling
 * and random numbers; the large model verifies them as any draft. How many it guesses maximises
 * expected tokens per second, its own steps included. What it reads of prompts counts in the step
 * budget as prompts do, and so do guesses while a reply streams that gets none of them; its steps
 * pause for urgent work. All on the conductor's thread.
 */
#ifndef ENGINE_DRAFTER_H
#define ENGINE_DRAFTER_H

#include "engine/conductor.h"

/* For up to n_sequences of the engine's. ERR_CONFIG names the first token in which the vocabularies
 * differ. */
error_code drafter_create(drafter **out, engine *e, const model *small, size_t n_sequences,
                          failure *fail);
void drafter_destroy(drafter *d);
/* The small model's T(n) is step_ms and stays so. */
void drafter_fix_cost(drafter *d, const double step_ms[ENGINE_STEP_ROWS + 1]);

/* The most memory that its KV can take. */
size_t drafter_kv_bytes(const drafter *d);

/* Runs a forward pass that has begun on the engine's threads; returns the ms that it took. */
typedef double compute_pass(engine *e, forward *f);

/* Drafts for the engine's sequences that decode and want it, the small model's passes run by
 * `compute`; engine->drafting says what it took. */
void drafter_run(drafter *d, compute_pass *compute);
/* The sequence has ended, or waits again. */
void drafter_forget(drafter *d, sequence *s);

#endif
