/*
 * model.h: one model file in memory: what the architecture is (data), its packed weights, its
 * tokenizer and chat template.
 *
 * Architectures are data: one forward pass (forward.h) reads a model_config and its layer plans; a
 * new architecture is an entry of the table in architecture.c. A model owns everything it points to
 * and is read-only after loading.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "kernel/kernel.h"
#include "model/chat.h"
#include "model/layer_plan.h"
#include "model/tokenizer.h"

#define MODEL_MAX_EXPERTS 1024
#define MODEL_MAX_LAYERS 512
#define MODEL_LAYER_KINDS 2
#define MODEL_ROPES 2

typedef struct model_config {
    const char *architecture; /* "qwen2"; static text */
    size_t n_layers;          /* at most MODEL_MAX_LAYERS */
    size_t n_embd;
    size_t n_ff;           /* of the dense network, or of the expert that every token meets; or 0 */
    size_t n_experts;      /* 0: one dense feed-forward network */
    size_t n_experts_used; /* experts a token goes through */
    size_t n_expert_ff;    /* of one expert */
    bool experts_keep_softmax; /* the chosen experts' weights are not made to sum to 1 */
    size_t n_heads;
    size_t n_kv_heads;
    size_t head_dim;
    size_t n_vocab;
    size_t context_length; /* tokens the model was trained for */
    bool layer_norm;       /* norms take the mean away first (LayerNorm), else RMS */
    float norm_epsilon;
    rope_plan ropes[MODEL_ROPES];
    layer_plan kinds[MODEL_LAYER_KINDS]; /* layers that differ; config_layer says which is whose */
    unsigned char kind_of_layer[MODEL_MAX_LAYERS];
    float embedding_scale;
    float logit_scale;
    float logit_soft_cap; /* 0: none */
    /* Queries at position p are multiplied by 1 + scale · ln(1 + ⌊p / length⌋). Length 0: not. */
    float temperature_scale;
    size_t temperature_length;
    bool tied_output;
} model_config;

static inline const layer_plan *config_layer(const model_config *c, size_t layer)
{
    return &c->kinds[c->kind_of_layer[layer]];
}

typedef struct layer_weights {
    const float *attn_norm; /* n_embd, or NULL: the layer reads the residual stream as it is */
    matrix *qkv;            /* (n_heads + 2 n_kv_heads) · head_dim × n_embd: q, k, v stacked */
    const float *qkv_bias;  /* its rows, or NULL */
    const float *q_norm;    /* head_dim, or all heads' (QK_NORM_ROW), or NULL */
    const float *k_norm;    /* the same for k */
    const float *sinks;     /* n_heads logits beside the scores (gpt-oss), or NULL */
    matrix *attn_output;    /* n_embd × n_heads · head_dim */
    const float *attn_output_bias; /* n_embd, or NULL */
    const float *attn_post_norm;   /* n_embd, over what attention gives; or NULL */

    const float *ffn_norm;      /* n_embd, or NULL; where layers are parallel, attn_norm */
    matrix *gate_up;            /* 2 n_ff × n_embd: gate, then up; NULL: experts only */
    const float *gate_up_bias;  /* its rows, or NULL */
    matrix *down;               /* n_embd × n_ff; NULL: experts only */
    const float *down_bias;     /* n_embd, or NULL */
    const float *ffn_post_norm; /* n_embd, over what the network gives; or NULL */

    matrix *router;                   /* n_experts × n_embd, or NULL */
    const float *router_bias;         /* n_experts, or NULL */
    matrix **expert_gate_up;          /* n_experts of 2 n_expert_ff × n_embd */
    const float *expert_gate_up_bias; /* n_experts × its rows, or NULL */
    matrix **expert_down;             /* n_experts of n_embd × n_expert_ff */
    const float *expert_down_bias;    /* n_experts × n_embd, or NULL */
    /* n_embd: the sigmoid of its product with the input weighs the expert that every token meets;
     * NULL: 1. */
    const float *shared_gate;
} layer_weights;

typedef struct model {
    model_config config;
    layer_weights *layers;     /* n_layers */
    const float *output_norm;  /* n_embd */
    matrix *output;            /* n_vocab × n_embd */
    const float *rope_factors; /* rope dims / 2 divisors of the frequencies, or NULL */
    weight_memory *weights;    /* where the matrices lie */
    const void *embedding;     /* n_vocab × n_embd as the file has it, copied, of which rows are
                                  read; NULL: it is the output matrix (tied) */
    const tensor_type_info *embedding_type;
    size_t embedding_bytes; /* of the copy */
    gguf *file;             /* its keys and what its tensors are called; their data is gone */
    tokenizer *tokenizer;
    chat_template *chat;         /* NULL: only raw prompts */
    failure chat_failure;        /* why the file's own template cannot be used, or code OK */
    struct grammar_words *words; /* what grammars (grammar.h) need of the tokenizer */
    size_t weight_bytes;         /* bytes one single-row step reads (embedding row left out) */
    uint64_t fingerprint;        /* of the file (fingerprint.h) */
    float **vectors;             /* every small f32 vector above, to be freed */
    size_t n_vectors;
} model;

typedef struct model_options {
    /* A built-in template's name or file:PATH; "none": raw prompts only; NULL: the file's own. */
    const char *chat_template;
    const tensor_type_info *head; /* the output matrix's type in memory (requantise.h); NULL: the
                                     file's */
    size_t context; /* positions that will be used: of RoPE factors for short and for long
                       contexts (LongRoPE) it chooses; 0: what the model was trained for */
    void (*progress)(void *context,
                     double fraction); /* or NULL; 0 … 1 while weights are repacked */
    void *progress_context;
} model_options;

error_code model_load(model **out, const char *path, const model_options *options, failure *fail);
void model_destroy(model *m);

/* What its weights take of memory: all experts, and the embedding. */
size_t model_resident_bytes(const model *m);

/* Reads only the configuration (for `inspect`): no weights are touched. */
error_code model_config_read(model_config *out, const gguf *file, failure *fail);

/* Whether the two have one vocabulary, so that one can draft for the other; ERR_CONFIG says where
 * they differ. */
error_code model_check_vocabulary(const model *large, const model *small, failure *fail);

/* What is read of states after the output norm is called this layer: one more than there are. */
static inline uint32_t model_last_state(const model *m)
{
    return (uint32_t)m->config.n_layers + 1;
}

/* The f32 embedding of one token, scaled as the model wants it: n_embd values. */
void model_embed(const model *m, int32_t token, float *out);

#endif
