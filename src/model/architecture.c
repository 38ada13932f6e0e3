/* architecture.c: what each supported architecture is, as data, and the configuration read from a
 * file's keys (GGUF: `<architecture>.block_count` ...). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/architecture.h"

static const architecture architectures[] = {
    {.name = "llama", .rope = ROTATE_ADJACENT},
    {.name = "qwen2", .rope = ROTATE_HALVES, .qkv_bias = true},
    {.name = "qwen3", .rope = ROTATE_HALVES, .qk_norm = true},
    {.name = "qwen3moe", .rope = ROTATE_HALVES, .qk_norm = true, .experts = true},
    {.name = "pangu-embedded",
     .rope = ROTATE_HALVES,
     .qkv_bias = true,
     .attn_output_bias = true,
     .default_chat = "pangu"},
};

#define N_ARCHITECTURES (sizeof architectures / sizeof architectures[0])

static error_code refuse_unknown(gguf_string name, failure *fail)
{
    char known[256] = "";
    for (size_t i = 0; i < N_ARCHITECTURES; i++) {
        strcat(known, i == 0 ? "" : ", ");
        strcat(known, architectures[i].name);
    }
    int length = name.length > 64 ? 64 : (int)name.length;
    return failure_set(fail, ERR_UNSUPPORTED, "architecture '%.*s' is not supported (known: %s)",
                       length, name.data, known);
}

error_code architecture_find(const architecture **out, const gguf *file, failure *fail)
{
    gguf_string name;
    if (!gguf_text(file, "general.architecture", &name))
        return failure_set(fail, ERR_FORMAT, "key general.architecture is missing");
    for (size_t i = 0; i < N_ARCHITECTURES; i++) {
        if (strlen(architectures[i].name) == name.length &&
            memcmp(architectures[i].name, name.data, name.length) == 0) {
            *out = &architectures[i];
            return OK;
        }
    }
    return refuse_unknown(name, fail);
}

typedef struct key_reader {
    const gguf *file;
    const char *architecture;
    failure *fail;
    error_code code; /* of the first key that failed; later reads do nothing */
} key_reader;

static const char *key_name(const key_reader *r, const char *suffix, char *name, size_t size)
{
    snprintf(name, size, "%s.%s", r->architecture, suffix);
    return name;
}

/* A count in 1 … limit; when absent, `fallback`, or an error if that is 0. */
static size_t read_count(key_reader *r, const char *suffix, size_t fallback, uint64_t limit)
{
    char name[128];
    uint64_t value;
    if (r->code != OK)
        return fallback;
    key_name(r, suffix, name, sizeof name);
    if (!gguf_has(r->file, name) && fallback > 0)
        return fallback;
    if (!gguf_u64(r->file, name, &value)) {
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is missing or not a number", name);
        return fallback;
    }
    if (value == 0 || value > limit) {
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is %llu, must be 1 to %llu", name,
                              (unsigned long long)value, (unsigned long long)limit);
        return fallback;
    }
    return (size_t)value;
}

static float read_float(key_reader *r, const char *suffix, double fallback)
{
    char name[128];
    double value = fallback;
    if (r->code != OK)
        return (float)fallback;
    key_name(r, suffix, name, sizeof name);
    if (gguf_has(r->file, name) && !gguf_f64(r->file, name, &value))
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is not a number", name);
    else if (!(value > 0) || !isfinite(value))
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s is %g, must be positive", name, value);
    return (float)value;
}

/* Keys whose meaning this forward pass does not have: a file that sets one would run, wrongly. */
static void refuse_key(key_reader *r, const char *suffix, uint64_t neutral_up_to)
{
    char name[128];
    uint64_t value;
    if (r->code != OK)
        return;
    key_name(r, suffix, name, sizeof name);
    if (gguf_u64(r->file, name, &value) && value > neutral_up_to)
        r->code = failure_set(r->fail, ERR_UNSUPPORTED, "key %s = %llu is not supported", name,
                              (unsigned long long)value);
}

static void read_rope_scaling(key_reader *r, model_config *c)
{
    char name[128];
    gguf_string type;
    c->rope_scale = 1.0f;
    if (r->code != OK ||
        !gguf_text(r->file, key_name(r, "rope.scaling.type", name, sizeof name), &type))
        return;
    if (type.length == 4 && memcmp(type.data, "none", 4) == 0)
        return;
    if (type.length == 6 && memcmp(type.data, "linear", 6) == 0) {
        c->rope_scale = 1.0f / read_float(r, "rope.scaling.factor", 1.0);
        return;
    }
    int length = type.length > 32 ? 32 : (int)type.length;
    r->code = failure_set(r->fail, ERR_UNSUPPORTED, "RoPE scaling '%.*s' is not supported", length,
                          type.data);
}

static void check_shape(key_reader *r, const model_config *c, size_t value_length)
{
    if (r->code != OK)
        return;
    if (c->n_heads % c->n_kv_heads != 0)
        r->code = failure_set(r->fail, ERR_FORMAT, "%zu heads are not a multiple of %zu KV heads",
                              c->n_heads, c->n_kv_heads);
    else if (c->head_dim % 8 != 0)
        r->code = failure_set(r->fail, ERR_UNSUPPORTED, "head size %zu is not a multiple of 8",
                              c->head_dim);
    else if (value_length != c->head_dim)
        r->code = failure_set(r->fail, ERR_UNSUPPORTED, "value size %zu differs from key size %zu",
                              value_length, c->head_dim);
    else if (c->rope_dims > c->head_dim || c->rope_dims % 2 != 0)
        r->code = failure_set(r->fail, ERR_FORMAT, "%zu RoPE dimensions for a head size of %zu",
                              c->rope_dims, c->head_dim);
}

error_code model_config_read(model_config *out, const gguf *file, failure *fail)
{
    const architecture *a;
    error_code code = architecture_find(&a, file, fail);
    if (code != OK)
        return code;
    key_reader r = {.file = file, .architecture = a->name, .fail = fail};
    model_config c = {.architecture = a->name, .rope = a->rope};
    const uint64_t most = 1u << 24; /* keeps every product below far from overflow */
    c.n_layers = read_count(&r, "block_count", 0, 4096);
    c.n_embd = read_count(&r, "embedding_length", 0, most);
    if (a->experts) {
        c.n_ff = read_count(&r, "expert_feed_forward_length", 0, most);
        c.n_experts = read_count(&r, "expert_count", 0, MODEL_MAX_EXPERTS);
        c.n_experts_used = read_count(&r, "expert_used_count", 0, c.n_experts);
    } else {
        c.n_ff = read_count(&r, "feed_forward_length", 0, most);
        refuse_key(&r, "expert_count", 0);
    }
    c.n_heads = read_count(&r, "attention.head_count", 0, 65536);
    c.n_kv_heads = read_count(&r, "attention.head_count_kv", c.n_heads, 65536);
    size_t even = c.n_heads == 0 ? 0 : c.n_embd / c.n_heads;
    c.head_dim = read_count(&r, "attention.key_length", even, 4096);
    size_t value_length = read_count(&r, "attention.value_length", c.head_dim, 4096);
    c.rope_dims = read_count(&r, "rope.dimension_count", c.head_dim, 4096);
    c.context_length = read_count(&r, "context_length", 0, 1u << 30);
    c.rms_epsilon = read_float(&r, "attention.layer_norm_rms_epsilon", 1e-5);
    c.rope_base = read_float(&r, "rope.freq_base", 10000.0);
    read_rope_scaling(&r, &c);
    check_shape(&r, &c, value_length);
    if (r.code != OK)
        return r.code;
    const gguf_tensor *embedding = gguf_tensor_find(file, "token_embd.weight");
    if (embedding != NULL)
        c.n_vocab = (size_t)embedding->dims[1];
    c.tied_output = gguf_tensor_find(file, "output.weight") == NULL;
    *out = c;
    return OK;
}
