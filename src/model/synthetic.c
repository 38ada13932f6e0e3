/* synthetic.c: named shapes to the keys and tensors of a file. */
#include "model/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_write.h"
#include "model/synthetic_internal.h"

/* From the models' published configurations. */
static const synthetic_shape shapes[] = {
    {.name = "pangu-1b",
     .architecture = "pangu-embedded",
     .n_layers = 26,
     .n_embd = 1536,
     .n_ff = 6144,
     .n_heads = 12,
     .n_kv_heads = 6,
     .head_dim = 128,
     .n_vocab = 153376,
     .context = 32768,
     .rope_base = 4e6f,
     .epsilon = 1e-5f,
     .tied = true,
     .qkv_bias = true,
     .output_bias = true},
    {.name = "pangu-7b",
     .architecture = "pangu-embedded",
     .n_layers = 34,
     .n_embd = 4096,
     .n_ff = 12800,
     .n_heads = 32,
     .n_kv_heads = 8,
     .head_dim = 128,
     .n_vocab = 153376,
     .context = 32768,
     .rope_base = 1.6e7f,
     .epsilon = 1e-5f,
     .qkv_bias = true,
     .output_bias = true},
    {.name = "pangu-1b-llama",
     .architecture = "llama",
     .n_layers = 26,
     .n_embd = 1536,
     .n_ff = 6144,
     .n_heads = 12,
     .n_kv_heads = 6,
     .head_dim = 128,
     .n_vocab = 151936,
     .context = 32768,
     .rope_base = 4e6f,
     .epsilon = 1e-5f,
     .tied = true},
    {.name = "pangu-7b-llama",
     .architecture = "llama",
     .n_layers = 34,
     .n_embd = 4096,
     .n_ff = 12800,
     .n_heads = 32,
     .n_kv_heads = 8,
     .head_dim = 128,
     .n_vocab = 151936,
     .context = 32768,
     .rope_base = 1.6e7f,
     .epsilon = 1e-5f},
    {.name = "qwen2.5-0.5b",
     .architecture = "qwen2",
     .n_layers = 24,
     .n_embd = 896,
     .n_ff = 4864,
     .n_heads = 14,
     .n_kv_heads = 2,
     .head_dim = 64,
     .n_vocab = 151936,
     .context = 32768,
     .rope_base = 1e6f,
     .epsilon = 1e-6f,
     .tied = true,
     .qkv_bias = true},
    {.name = "qwen2.5-7b",
     .architecture = "qwen2",
     .n_layers = 28,
     .n_embd = 3584,
     .n_ff = 18944,
     .n_heads = 28,
     .n_kv_heads = 4,
     .head_dim = 128,
     .n_vocab = 152064,
     .context = 32768,
     .rope_base = 1e6f,
     .epsilon = 1e-6f,
     .qkv_bias = true},
    {.name = "llama-3.1-8b",
     .architecture = "llama",
     .n_layers = 32,
     .n_embd = 4096,
     .n_ff = 14336,
     .n_heads = 32,
     .n_kv_heads = 8,
     .head_dim = 128,
     .n_vocab = 128256,
     .context = 131072,
     .rope_base = 5e5f,
     .epsilon = 1e-5f},
    {.name = "qwen3-30b-a3b",
     .architecture = "qwen3moe",
     .n_layers = 48,
     .n_embd = 2048,
     .n_ff = 6144,
     .n_heads = 32,
     .n_kv_heads = 4,
     .head_dim = 128,
     .n_vocab = 151936,
     .context = 40960,
     .rope_base = 1e6f,
     .epsilon = 1e-6f,
     .qk_norm = true,
     .n_experts = 128,
     .n_experts_used = 8,
     .n_expert_ff = 768},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

const char *synthetic_shape_name(size_t index)
{
    return index < N_SHAPES ? shapes[index].name : NULL;
}

const synthetic_shape *synthetic_shape_find(const char *name, failure *fail)
{
    char known[256] = "";
    for (size_t i = 0; i < N_SHAPES; i++) {
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
        strcat(known, i == 0 ? "" : ", ");
        strcat(known, shapes[i].name);
    }
    failure_set(fail, ERR_INVALID, "there is no synthetic shape '%s' (known: %s)", name, known);
    return NULL;
}

/* ---- which tensors a shape has -------------------------------------------------------------- */

typedef enum tensor_role { ROLE_MATRIX, ROLE_NORM, ROLE_BIAS } tensor_role;

typedef struct tensor_plan {
    char name[48];
    tensor_role role;
    uint64_t dims[3]; /* columns, rows, experts */
    uint32_t n_dims;
    const tensor_type_info *type;
} tensor_plan;

typedef struct plan {
    const synthetic_options *options;
    const synthetic_shape *shape;
    weight_setting setting;
    tensor_plan *tensors;
    size_t n_tensors;
    uint64_t bytes, bytes_done; /* of all tensors; written */
} plan;

enum { TENSORS_PER_LAYER = 15, TENSORS_OUTSIDE = 3 };

static tensor_plan *add(plan *p, tensor_role role, uint64_t columns, uint64_t rows,
                        const char *name)
{
    tensor_plan *t = &p->tensors[p->n_tensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->role = role;
    t->dims[0] = columns;
    t->dims[1] = rows;
    t->dims[2] = 1;
    t->n_dims = role == ROLE_MATRIX ? 2 : 1;
    t->type = weight_mix_type(&p->options->mix, &p->setting, (gguf_string){name, strlen(name)},
                              t->n_dims);
    return t;
}

static tensor_plan *add_in_layer(plan *p, size_t layer, tensor_role role, uint64_t columns,
                                 uint64_t rows, const char *suffix)
{
    char name[48];
    snprintf(name, sizeof name, "blk.%zu.%s", layer, suffix);
    return add(p, role, columns, rows, name);
}

/* One matrix for each expert, stacked. */
static void add_stack(plan *p, size_t layer, uint64_t columns, uint64_t rows, const char *suffix)
{
    tensor_plan *t = add_in_layer(p, layer, ROLE_MATRIX, columns, rows, suffix);
    t->dims[2] = p->shape->n_experts;
    t->n_dims = 3;
}

static void add_attention(plan *p, size_t layer)
{
    const synthetic_shape *s = p->shape;
    uint64_t q = (uint64_t)s->n_heads * s->head_dim, kv = (uint64_t)s->n_kv_heads * s->head_dim;
    add_in_layer(p, layer, ROLE_NORM, s->n_embd, 1, "attn_norm.weight");
    add_in_layer(p, layer, ROLE_MATRIX, s->n_embd, q, "attn_q.weight");
    add_in_layer(p, layer, ROLE_MATRIX, s->n_embd, kv, "attn_k.weight");
    add_in_layer(p, layer, ROLE_MATRIX, s->n_embd, kv, "attn_v.weight");
    add_in_layer(p, layer, ROLE_MATRIX, q, s->n_embd, "attn_output.weight");
    if (s->qkv_bias) {
        add_in_layer(p, layer, ROLE_BIAS, q, 1, "attn_q.bias");
        add_in_layer(p, layer, ROLE_BIAS, kv, 1, "attn_k.bias");
        add_in_layer(p, layer, ROLE_BIAS, kv, 1, "attn_v.bias");
    }
    if (s->output_bias)
        add_in_layer(p, layer, ROLE_BIAS, s->n_embd, 1, "attn_output.bias");
    if (s->qk_norm) {
        add_in_layer(p, layer, ROLE_NORM, s->head_dim, 1, "attn_q_norm.weight");
        add_in_layer(p, layer, ROLE_NORM, s->head_dim, 1, "attn_k_norm.weight");
    }
}

static void add_ffn(plan *p, size_t layer)
{
    const synthetic_shape *s = p->shape;
    add_in_layer(p, layer, ROLE_NORM, s->n_embd, 1, "ffn_norm.weight");
    if (s->n_experts > 0) {
        add_in_layer(p, layer, ROLE_MATRIX, s->n_embd, s->n_experts, "ffn_gate_inp.weight");
        add_stack(p, layer, s->n_embd, s->n_expert_ff, "ffn_gate_exps.weight");
        add_stack(p, layer, s->n_embd, s->n_expert_ff, "ffn_up_exps.weight");
        add_stack(p, layer, s->n_expert_ff, s->n_embd, "ffn_down_exps.weight");
    } else {
        add_in_layer(p, layer, ROLE_MATRIX, s->n_embd, s->n_ff, "ffn_gate.weight");
        add_in_layer(p, layer, ROLE_MATRIX, s->n_embd, s->n_ff, "ffn_up.weight");
        add_in_layer(p, layer, ROLE_MATRIX, s->n_ff, s->n_embd, "ffn_down.weight");
    }
}

static uint64_t blocks_of(const tensor_plan *t)
{
    return t->dims[0] / t->type->block_values * t->dims[1] * t->dims[2];
}

static error_code check_plan(plan *p, failure *fail)
{
    for (size_t i = 0; i < p->n_tensors; i++) {
        const tensor_plan *t = &p->tensors[i];
        if (t->dims[0] % t->type->block_values != 0)
            return failure_set(fail, ERR_INVALID,
                               "%s cannot be %s: the rows of %s have %llu values, which are not "
                               "whole blocks of %u",
                               p->shape->name, t->type->name, t->name,
                               (unsigned long long)t->dims[0], t->type->block_values);
        p->bytes += blocks_of(t) * t->type->block_bytes;
    }
    return OK;
}

static error_code plan_tensors(plan *p, failure *fail)
{
    const synthetic_shape *s = p->shape;
    p->tensors = calloc(s->n_layers * TENSORS_PER_LAYER + TENSORS_OUTSIDE, sizeof *p->tensors);
    if (p->tensors == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %u layers", s->n_layers);
    add(p, ROLE_MATRIX, s->n_embd, s->n_vocab, "token_embd.weight");
    for (size_t i = 0; i < s->n_layers; i++) {
        add_attention(p, i);
        add_ffn(p, i);
    }
    add(p, ROLE_NORM, s->n_embd, 1, "output_norm.weight");
    if (!s->tied)
        add(p, ROLE_MATRIX, s->n_embd, s->n_vocab, "output.weight");
    return check_plan(p, fail);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static const char *key_name(const synthetic_shape *s, const char *suffix, char name[96])
{
    snprintf(name, 96, "%s.%s", s->architecture, suffix);
    return name;
}

static void write_keys(gguf_writer *w, const plan *p)
{
    const synthetic_shape *s = p->shape;
    const struct {
        const char *suffix;
        uint32_t value;
    } counts[] = {
        {"block_count", s->n_layers},
        {"context_length", s->context},
        {"embedding_length", s->n_embd},
        {"feed_forward_length", s->n_ff},
        {"attention.head_count", s->n_heads},
        {"attention.head_count_kv", s->n_kv_heads},
        {"attention.key_length", s->head_dim},
        {"attention.value_length", s->head_dim},
        {"rope.dimension_count", s->head_dim},
        {"vocab_size", s->n_vocab},
        {"expert_count", s->n_experts},
        {"expert_used_count", s->n_experts_used},
        {"expert_feed_forward_length", s->n_expert_ff},
    };
    const size_t n_counts = sizeof counts / sizeof counts[0], of_experts = 3;
    char name[96];
    gguf_writer_text(w, "general.architecture", s->architecture);
    snprintf(name, sizeof name, "%s, random weights", s->name);
    gguf_writer_text(w, "general.name", name);
    for (size_t i = 0; i < (s->n_experts > 0 ? n_counts : n_counts - of_experts); i++)
        gguf_writer_u32(w, key_name(s, counts[i].suffix, name), counts[i].value);
    gguf_writer_f32(w, key_name(s, "rope.freq_base", name), s->rope_base);
    gguf_writer_f32(w, key_name(s, "attention.layer_norm_rms_epsilon", name), s->epsilon);
    weight_mix_write_keys(&p->options->mix, w);
}

/* ---- data ----------------------------------------------------------------------------------- */

enum { SLAB_BYTES = 4 << 20 };

static error_code write_matrix(gguf_writer *w, plan *p, const tensor_plan *t, random_state *random,
                               void *slab, failure *fail)
{
    random_weights weights;
    random_weights_init(&weights, t->type->type, 1.0f / sqrtf((float)t->dims[0]));
    size_t blocks = (size_t)blocks_of(t);
    size_t per_slab = SLAB_BYTES / t->type->block_bytes;
    while (blocks > 0) {
        size_t n = blocks < per_slab ? blocks : per_slab;
        random_weights_fill(&weights, random, slab, n);
        error_code code = gguf_writer_data(w, slab, n * t->type->block_bytes, fail);
        if (code != OK)
            return code;
        blocks -= n;
        p->bytes_done += n * t->type->block_bytes;
        if (p->options->progress != NULL &&
            !p->options->progress(p->options->progress_context,
                                  (double)p->bytes_done / (double)p->bytes))
            return failure_set(fail, ERR_CANCELLED, "stopped");
    }
    return OK;
}

static error_code write_vector(gguf_writer *w, plan *p, const tensor_plan *t, random_state *random,
                               float *slab, failure *fail)
{
    const float most = 0.1f; /* of a bias; norms are 1 */
    for (size_t i = 0; i < t->dims[0]; i++)
        slab[i] = t->role == ROLE_NORM
                      ? 1.0f
                      : most * ((float)(random_next(random) >> 40) * 0x1p-23f - 1.0f);
    p->bytes_done += t->dims[0] * sizeof *slab;
    return gguf_writer_data(w, slab, t->dims[0] * sizeof *slab, fail);
}

static error_code write_data(gguf_writer *w, plan *p, failure *fail)
{
    void *slab = malloc(SLAB_BYTES);
    if (slab == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to make weights in");
    error_code code = OK;
    for (size_t i = 0; i < p->n_tensors && code == OK; i++) {
        const tensor_plan *t = &p->tensors[i];
        random_state random = random_start(p->options->seed, i);
        code = t->n_dims > 1 ? write_matrix(w, p, t, &random, slab, fail)
                             : write_vector(w, p, t, &random, slab, fail);
    }
    free(slab);
    return code;
}

static error_code write_file(plan *p, const char *path, failure *fail)
{
    gguf_writer *w = NULL;
    error_code code = gguf_writer_create(&w, path, fail);
    if (code != OK)
        return code;
    write_keys(w, p);
    code = synthetic_vocabulary(w, p->shape->n_vocab, fail);
    for (size_t i = 0; i < p->n_tensors; i++) {
        const tensor_plan *t = &p->tensors[i];
        gguf_writer_tensor(w, (gguf_string){t->name, strlen(t->name)}, t->n_dims, t->dims, t->type);
    }
    if (code == OK)
        code = gguf_writer_begin(w, fail);
    if (code == OK)
        code = write_data(w, p, fail);
    if (code == OK)
        code = gguf_writer_finish(w, fail);
    gguf_writer_destroy(w);
    return code;
}

error_code synthetic_write_shape(const synthetic_shape *shape, const synthetic_options *options,
                                 const char *path, failure *fail)
{
    plan p = {.options = options, .shape = shape, .setting = {shape->n_layers, shape->tied}};
    const weight_mix *mix = &options->mix;
    if (mix->type == NULL || !random_weights_known(mix->type->type) ||
        !random_weights_known(mix->finer->type))
        return failure_set(fail, ERR_UNSUPPORTED, "no random weights of type %s can be made",
                           mix->name);
    error_code code = plan_tensors(&p, fail);
    if (code == OK)
        code = write_file(&p, path, fail);
    free(p.tensors);
    return code;
}

error_code synthetic_write(const synthetic_options *options, const char *path, failure *fail)
{
    const synthetic_shape *shape = synthetic_shape_find(options->shape, fail);
    return shape == NULL ? ERR_INVALID : synthetic_write_shape(shape, options, path, fail);
}
