/*
 * synthetic_internal.h: what the files of the synthetic models share.
 *
 *   synthetic.c             shapes, tensors, keys, writing
 *   synthetic_weights.c     random blocks of every tensor type
 *   synthetic_vocabulary.c  a vocabulary that loads, encodes any text and decodes any token
 */
#ifndef MODEL_SYNTHETIC_INTERNAL_H
#define MODEL_SYNTHETIC_INTERNAL_H

#include "model/gguf_write.h"
#include "model/synthetic.h"

typedef struct synthetic_shape {
    const char *name;
    const char *architecture;
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, context;
    float rope_base, epsilon;
    bool tied, qkv_bias, output_bias, qk_norm;
    uint32_t n_experts, n_experts_used; /* 0: one dense network */
    uint32_t n_expert_ff;
} synthetic_shape;

/* A named shape, NULL with a failure that lists them. */
const synthetic_shape *synthetic_shape_find(const char *name, failure *fail);
/* Any shape; options->shape is not read. */
error_code synthetic_write_shape(const synthetic_shape *shape, const synthetic_options *options,
                                 const char *path, failure *fail);

/* Marsaglia's xorshift64: fast enough to keep up with a disk, and no worse is needed. */
typedef struct random_state {
    uint64_t x; /* never 0 */
} random_state;

random_state random_start(uint64_t seed, uint64_t stream);

static inline uint64_t random_next(random_state *r)
{
    r->x ^= r->x << 13;
    r->x ^= r->x >> 7;
    r->x ^= r->x << 17;
    return r->x;
}

/* How blocks of one type are filled so that their values have mean 0 and a given deviation. */
typedef struct random_weights {
    const struct random_format *format;
    uint32_t block_bytes;
    uint16_t scale, min; /* f16 */
    float values[256];   /* floats: what a random byte stands for */
} random_weights;

bool random_weights_known(tensor_type type);
void random_weights_init(random_weights *w, tensor_type type, float deviation);
void random_weights_fill(const random_weights *w, random_state *random, void *blocks, size_t n);

error_code synthetic_vocabulary(gguf_writer *w, uint32_t n_vocab, failure *fail);

#endif
