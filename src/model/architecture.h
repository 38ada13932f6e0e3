/* architecture.h: inside the model room only: the table of architectures. */
#ifndef MODEL_ARCHITECTURE_H
#define MODEL_ARCHITECTURE_H

#include "model/model.h"

typedef struct architecture {
    const char *name; /* general.architecture */
    rotate_layout rope;
    bool qkv_bias; /* biases on q, k and v */
    bool attn_output_bias;
    const char
        *default_chat; /* the form it was trained on, for files that carry no template; or NULL */
    bool experts;      /* a router and experts in place of the feed-forward network */
    bool qk_norm;      /* RMS norm of every q and k head before RoPE */
} architecture;

error_code architecture_find(const architecture **out, const gguf *file, failure *fail);

#endif
