/* small_shape.h: a synthetic model of a second's work whose rows are whole super-blocks, which the
 * project's own small models do not have. */
#ifndef TESTS_SMALL_SHAPE_H
#define TESTS_SMALL_SHAPE_H

#include <string.h>

#include "model/synthetic_internal.h"

enum { SMALL_VOCAB = 1000, SMALL_EMBD = 256 };

static inline synthetic_shape small_shape(const char *architecture, bool tied)
{
    bool pangu = strcmp(architecture, "pangu-embedded") == 0;
    bool experts = strcmp(architecture, "qwen3moe") == 0;
    return (synthetic_shape){
        .name = "small",
        .architecture = architecture,
        .n_layers = 2,
        .n_embd = SMALL_EMBD,
        .n_ff = 512,
        .n_heads = 4,
        .n_kv_heads = 2,
        .head_dim = 64,
        .n_vocab = SMALL_VOCAB,
        .context = 512,
        .rope_base = 1e4f,
        .epsilon = 1e-5f,
        .tied = tied,
        .qkv_bias = pangu || strcmp(architecture, "qwen2") == 0,
        .output_bias = pangu,
        .qk_norm = experts,
        .n_experts = experts ? 6 : 0,
        .n_experts_used = experts ? 2 : 0,
        .n_expert_ff = experts ? 256 : 0,
    };
}

#endif
