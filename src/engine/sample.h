/*
 * sample.h: from logits to one token.
 *
 * The random number is a function of (seed, choice, position) alone, so the token at a position
 * does not depend on how the step that computed it was composed. A sampler sees only accepted
 * tokens.
 */
#ifndef ENGINE_SAMPLE_H
#define ENGINE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/random.h"
#include "base/sampling.h"
#include "engine/score.h"

typedef struct sampler sampler;

/* Copies params (biases included). */
error_code sampler_create(sampler **out, const sampling_params *p, size_t n_vocab, failure *fail);
void sampler_destroy(sampler *s);
/* Tells the sampler of a prompt token, or of an accepted reply token. */
void sampler_see_prompt(sampler *s, int32_t token);
void sampler_accept(sampler *s, int32_t token);
/* The token that follows position - 1; `logits` (n_vocab) is changed. Pure but for that. */
int32_t sampler_sample(sampler *s, float *logits, uint64_t position);

/* Of the token that sampler_sample has just given, with what it left in `logits`: its probability
 * among those that could be drawn, after all of the sampling, and the n_top most probable of them
 * (≤ n_vocab); where there are fewer, the rest has a log-probability of -INFINITY. */
void sampler_score(const sampler *s, const float *logits, int32_t token, scored_token *out,
                   size_t n_top);

#endif
