/*
 * layer_plan.h: what one layer of a model computes, as data.
 *
 * An architecture (architecture.c) fills these from a file's keys; the one forward pass reads them.
 * Norms, biases and sinks need no word here: a layer has those whose weights it has (model.h).
 */
#ifndef MODEL_LAYER_PLAN_H
#define MODEL_LAYER_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel/kernel.h"

/* How positions turn queries and keys. */
typedef struct rope_plan {
    rotate_layout layout; /* adjacent: "NORM", halves: "NEOX" */
    size_t dims;          /* of a head's values, those that are turned: the first ones */
    float base;
    float scale;     /* position factor: 1 / rope.scaling.factor, else 1 */
    float magnitude; /* what the turned values are multiplied with, else 1 */
    bool divided;    /* by the model's rope_factors */
    /* YaRN (arXiv 2309.00071): fast dimensions keep their frequency, slow ones are scaled. */
    float yarn_mix; /* 0: not YaRN; 1: wholly */
    float yarn_beta_fast, yarn_beta_slow;
    size_t original_context; /* positions before the scaling */
} rope_plan;

typedef enum qk_norm {
    QK_NORM_NONE,
    QK_NORM_HEAD, /* every head of q and k by itself */
    QK_NORM_ROW,  /* the whole of q, the whole of k */
} qk_norm;

typedef enum ffn_activation {
    ACTIVATE_SILU,       /* silu(gate) · up */
    ACTIVATE_GELU,       /* gelu(gate) · up, by the tanh approximation */
    ACTIVATE_SWIGLU_OAI, /* gpt-oss: clamped, see vector_swiglu_oai_multiply */
} ffn_activation;

#define LAYER_NO_ROPE (-1)

typedef struct layer_plan {
    size_t window; /* positions that a row sees, itself the last of them; 0: all */
    int rope;      /* index of model_config's ropes, or LAYER_NO_ROPE */
    qk_norm qk_norm;
    float attention_scale;    /* of scores */
    float attention_soft_cap; /* 0: none */
    ffn_activation activation;
    float residual_scale; /* of what attention and feed-forward add to the residual stream */
    bool is_parallel;     /* attention and feed-forward read the same normalised input */
} layer_plan;

#endif
