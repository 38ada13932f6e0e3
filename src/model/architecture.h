/*
 * architecture.h: inside the model room only: the table of architectures, and what loading asks of
 * an entry.
 *
 *   architecture.c          the table
 *   architecture_keys.c     reading one key, checked
 *   architecture_config.c   from an entry and a file's keys to a model_config
 */
#ifndef MODEL_ARCHITECTURE_H
#define MODEL_ARCHITECTURE_H

#include "model/model.h"

/* Which layers have the window of `attention.sliding_window`. */
typedef enum window_use {
    WINDOW_NEVER,       /* a file that sets one is refused */
    WINDOW_EVERY_LAYER, /* all, where the key is there and not 0 */
    WINDOW_PATTERN,     /* by `attention.sliding_window_pattern` or the entry's own pattern */
} window_use;

/* Which layers turn queries and keys. */
typedef enum rope_use {
    ROPE_EVERYWHERE,
    ROPE_IN_WINDOWS,    /* layers with a window only, where the model has any */
    ROPE_EXCEPT_FOURTH, /* not in every fourth layer */
    ROPE_SWITCHED,      /* nowhere, where `rope.scaling.finetuned` is false */
} rope_use;

/* What a part of a layer may be in a file. */
typedef enum presence {
    ABSENT,   /* such a tensor has no place and is refused */
    OPTIONAL, /* used where it is there */
    REQUIRED,
} presence;

/* What the logits are scaled by `logit_scale`. */
typedef enum logit_scaling { LOGITS_UNSCALED, LOGITS_MULTIPLIED, LOGITS_DIVIDED } logit_scaling;

typedef struct architecture {
    const char *name; /* general.architecture */
    /* The form it was trained on, for files that carry no chat template; or NULL. */
    const char *default_chat;

    rotate_layout rope;
    rope_use rope_use;
    float window_rope_base; /* of layers with a window, without `rope.freq_base_swa`; 0: the same */
    bool window_rope_is_unscaled; /* layers with a window turn by the base alone */
    bool yarn_factor_is_whole;    /* `rope.scaling.attn_factor` is YaRN's magnitude, not a part */

    window_use window;
    size_t window_pattern;        /* every so manieth layer has no window: the last of each group */
    size_t default_window;        /* without the key; 0: no layer has one then */
    size_t default_window_layers; /* with so many layers only; 0: always */

    presence qkv_bias, attn_output_bias, ffn_bias;
    qk_norm qk_norm;
    bool sinks;
    bool no_input_norms; /* neither attention nor feed-forward normalises what it reads */
    bool post_norms;     /* both normalise what they give */
    bool is_parallel, layer_norm;
    const char *ffn_norm_name; /* of the tensor, where it is not ffn_norm */

    ffn_activation activation;
    presence experts; /* OPTIONAL: where the file has a count of them */
    bool experts_keep_softmax, router_bias, expert_bias;
    presence shared_expert;
    bool shared_gate; /* the shared expert is weighed */

    bool embedding_root;         /* embeddings are multiplied with the root of their width */
    bool scales;                 /* `embedding_scale`, `residual_scale`, `attention.scale` */
    logit_scaling logit_scaling; /* by `logit_scale` */
    bool soft_caps; /* `attn_logit_softcapping`, `final_logit_softcapping`; without them these: */
    float attention_soft_cap, logit_soft_cap; /* 0: none */
    bool temperature;                         /* `attention.temperature_scale` */
    /* So many layers mark the size whose scores are scaled by the root of n_embd / n_heads instead
     * of head_dim; no key says so. 0: none. */
    size_t layers_scaled_by_width;
} architecture;

error_code architecture_find(const architecture **out, const gguf *file, failure *fail);

/* ---- keys (architecture_keys.c) -------------------------------------------------------------- */

/* Reads `<architecture>.<suffix>`. After the first failure all further reads do nothing. */
typedef struct key_reader {
    const gguf *file;
    const char *architecture;
    failure *fail;
    error_code code; /* of the first key that failed */
} key_reader;

#define KEY_NAME_SIZE 128
const char *key_name(const key_reader *r, const char *suffix, char name[KEY_NAME_SIZE]);
bool key_has(const key_reader *r, const char *suffix);
/* A count in 1 … limit; when absent, `fallback`, or an error if that is 0. An array must hold the
 * same for every layer. */
size_t key_count(key_reader *r, const char *suffix, size_t fallback, uint64_t limit);
/* 0 where the key is absent. */
size_t key_optional_count(key_reader *r, const char *suffix, uint64_t limit);
/* A positive number. */
float key_float(key_reader *r, const char *suffix, double fallback);
/* As key_float, but 0 is allowed and means absence. */
float key_optional_float(key_reader *r, const char *suffix, double fallback);
/* Whether the key's text is `text`; false where it is absent. */
bool key_is(const key_reader *r, const char *suffix, const char *text);
bool key_is_false(const key_reader *r, const char *suffix);
/* Keys whose meaning this forward pass does not have: a file that sets one would run, wrongly. */
void key_refuse(key_reader *r, const char *suffix, double neutral);

#endif
