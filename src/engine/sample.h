/*
 * sample.h: from logits to one token.
 *
 * The random number is a function of (seed, choice, position) alone, so the token at a position
 * does not depend on how the step that computed it was composed. A sampler sees only accepted
 * tokens.
 */
#ifndef ENGINE_SAMPLE_H
#define ENGINE_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "engine/score.h"

typedef struct logit_bias {
    int32_t token;
    float bias; /* added to the token's logit; -100 and below bans it in practice */
} logit_bias;

#define SAMPLING_MAX_BIASES 1024

/* Applied in this order: bias, penalties, temperature, top-k, top-p, min-p. */
typedef struct sampling_params {
    float temperature;        /* [0, 100]; 0 is greedy (lowest id wins a tie) */
    uint32_t top_k;           /* 0: off */
    float top_p;              /* [1e-6, 1]; 1: off */
    float min_p;              /* [0, 1]; 0: off. Relative to the most probable token */
    float repetition_penalty; /* [0.01, 100]; 1: off. Over prompt and reply: positive logits are
                                 divided by it, negative ones multiplied (CTRL, arXiv 1909.05858) */
    float presence_penalty;   /* [-2, 2]; over the reply's tokens, as OpenAI defines it */
    float frequency_penalty;  /* [-2, 2]; likewise, times the count */
    uint64_t seed;
    uint32_t choice; /* which of several replies to one prompt */
    const logit_bias *biases;
    size_t n_biases;
} sampling_params;

/* temperature 1 and everything else off. */
sampling_params sampling_defaults(void);
/* ERR_INVALID names the field that is out of its range. */
error_code sampling_check(const sampling_params *p, size_t n_vocab, failure *fail);

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

/* A uniform number in [0, 1) that depends on its arguments alone. */
double random_uniform(uint64_t seed, uint64_t choice, uint64_t position);

#endif
