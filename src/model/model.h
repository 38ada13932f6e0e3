/*
 * model.h: one model file in memory: what the architecture is (data), its packed weights, its
 * tokenizer and chat template.
 *
 * Architectures are data: one forward pass (forward.h) reads a model_config; a new architecture is
 * an entry of the table in model.c. A model owns everything it points to and is read-only after
 * loading.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "kernel/kernel.h"
#include "model/chat.h"
#include "model/tokenizer.h"

#define MODEL_MAX_EXPERTS 1024

typedef struct model_config {
    const char *architecture; /* "qwen2"; static text */
    size_t n_layers;
    size_t n_embd;
    size_t n_ff;           /* of one expert, where there are experts */
    size_t n_experts;      /* 0: one dense feed-forward network */
    size_t n_experts_used; /* experts a token goes through */
    size_t n_heads;
    size_t n_kv_heads;
    size_t head_dim;
    size_t n_vocab;
    size_t context_length; /* tokens the model was trained for */
    float rms_epsilon;
    rotate_layout rope; /* adjacent: "NORM", halves: "NEOX" */
    size_t rope_dims;
    float rope_base;
    float rope_scale; /* position factor: 1 / rope.scaling.factor for linear scaling, else 1 */
    bool tied_output;
} model_config;

typedef struct layer_weights {
    const float *attn_norm; /* n_embd */
    matrix *qkv;            /* (n_heads + 2 n_kv_heads) · head_dim × n_embd: q, k, v stacked */
    const float *qkv_bias;  /* its rows, or NULL */
    const float *q_norm;    /* head_dim, or NULL */
    const float *k_norm;    /* head_dim, or NULL */
    matrix *attn_output;    /* n_embd × n_heads · head_dim */
    const float *attn_output_bias; /* n_embd, or NULL */
    const float *ffn_norm;         /* n_embd */
    /* Dense: one of each. Experts: n_experts of each, and a router. */
    matrix **gate_up; /* 2 n_ff × n_embd: gate, then up */
    matrix **down;    /* n_embd × n_ff */
    matrix *router;   /* n_experts × n_embd, or NULL */
} layer_weights;

typedef struct model {
    model_config config;
    layer_weights *layers;        /* n_layers */
    const float *output_norm;     /* n_embd */
    matrix *output;               /* n_vocab × n_embd */
    const float *rope_factors;    /* rope_dims / 2 divisors of the frequencies, or NULL */
    weight_memory *weights;       /* where the matrices lie */
    gguf *file;                   /* kept open: the embedding rows are read from it */
    const gguf_tensor *embedding; /* n_vocab rows of n_embd */
    tokenizer *tokenizer;
    const chat_template *chat; /* NULL: the file has none; only raw prompts then */
    size_t weight_bytes;       /* bytes one single-row step reads (embedding row left out) */
    float **vectors;           /* every small f32 vector above, to be freed */
    size_t n_vectors;
} model;

typedef struct model_options {
    const char
        *chat_template; /* override by name; "none": raw prompts only; NULL: what the file says */
    void (*progress)(void *context,
                     double fraction); /* or NULL; 0 … 1 while weights are repacked */
    void *progress_context;
} model_options;

error_code model_load(model **out, const char *path, const model_options *options, failure *fail);
void model_destroy(model *m);

/* Reads only the configuration (for `inspect`): no weights are touched. */
error_code model_config_read(model_config *out, const gguf *file, failure *fail);

/* The f32 embedding of one token: n_embd values. */
void model_embed(const model *m, int32_t token, float *out);

#endif
