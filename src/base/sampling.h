/* sampling.h: how a reply's tokens are to be chosen, whoever generates them. */
#ifndef BASE_SAMPLING_H
#define BASE_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

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

#endif
