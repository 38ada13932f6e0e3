/* architecture_config.c: the configuration of a model from its architecture's entry and its file's
 * keys (GGUF: `<architecture>.block_count` ...). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/architecture.h"

static const uint64_t most_values = 1u << 24; /* keeps every product of sizes far from overflow */

/* ---- sizes ----------------------------------------------------------------------------------- */

static void read_experts(key_reader *r, const architecture *a, model_config *c)
{
    size_t dense = key_optional_count(r, "feed_forward_length", most_values);
    c->n_experts = key_optional_count(r, "expert_count", MODEL_MAX_EXPERTS);
    if (a->experts == ABSENT)
        key_refuse(r, "expert_count", 0);
    if (a->experts == ABSENT || (a->experts == OPTIONAL && c->n_experts == 0)) {
        c->n_ff = key_count(r, "feed_forward_length", 0, most_values);
        return;
    }
    c->n_experts = key_count(r, "expert_count", 0, MODEL_MAX_EXPERTS);
    c->n_experts_used = key_count(r, "expert_used_count", 0, c->n_experts);
    c->n_expert_ff = key_count(r, "expert_feed_forward_length", dense, most_values);
    c->experts_keep_softmax = a->experts_keep_softmax;
    key_refuse(r, "expert_weights_scale", 1);
    key_refuse(r, "expert_group_count", 1);
    if (a->shared_expert == REQUIRED)
        c->n_ff = key_count(r, "expert_shared_feed_forward_length", dense, most_values);
    else if (a->shared_expert == OPTIONAL)
        c->n_ff = key_optional_count(r, "expert_shared_feed_forward_length", most_values);
}

static void read_sizes(key_reader *r, const architecture *a, model_config *c)
{
    c->n_layers = key_count(r, "block_count", 0, MODEL_MAX_LAYERS);
    c->n_embd = key_count(r, "embedding_length", 0, most_values);
    read_experts(r, a, c);
    c->n_heads = key_count(r, "attention.head_count", 0, 65536);
    c->n_kv_heads = key_count(r, "attention.head_count_kv", c->n_heads, 65536);
    size_t even = c->n_heads == 0 ? 0 : c->n_embd / c->n_heads;
    c->head_dim = key_count(r, "attention.key_length", even, 4096);
    c->context_length = key_count(r, "context_length", 0, 1u << 30);
    c->layer_norm = a->layer_norm;
    c->norm_epsilon = key_float(
        r, a->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        1e-5);
}

static void check_shape(key_reader *r, const model_config *c)
{
    size_t value_length = key_count(r, "attention.value_length", c->head_dim, 4096);
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
    else if (c->ropes[0].dims > c->head_dim || c->ropes[0].dims % 2 != 0)
        r->code = failure_set(r->fail, ERR_FORMAT, "%zu RoPE dimensions for a head size of %zu",
                              c->ropes[0].dims, c->head_dim);
}

/* ---- positions ------------------------------------------------------------------------------- */

/* YaRN makes attention sharper with the factor, unless the file's multiplier says otherwise
 * (arXiv 2309.00071 §3.4; `yarn_log_multiplier` is DeepSeek's mscale_all_dim). */
static float yarn_magnitude(double factor, double log_multiplier)
{
    if (factor <= 1)
        return 1.0f;
    double sharper = 0.1 * log(factor) + 1;
    return (float)(log_multiplier > 0 ? sharper / (0.1 * log_multiplier * log(factor) + 1)
                                      : sharper);
}

static void read_yarn(key_reader *r, float factor, rope_plan *p)
{
    p->yarn_mix = key_optional_float(r, "rope.scaling.yarn_ext_factor", 1.0);
    p->yarn_beta_fast = key_float(r, "rope.scaling.yarn_beta_fast", 32.0);
    p->yarn_beta_slow = key_float(r, "rope.scaling.yarn_beta_slow", 1.0);
    float log_multiplier = key_optional_float(r, "rope.scaling.yarn_log_multiplier", 0);
    p->magnitude = yarn_magnitude((double)factor, (double)log_multiplier);
}

static const char *const rope_factor_tensors[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                                  "rope_factors_long.weight"};

static bool has_rope_factors(const gguf *file)
{
    for (size_t i = 0; i < sizeof rope_factor_tensors / sizeof *rope_factor_tensors; i++)
        if (gguf_tensor_find(file, rope_factor_tensors[i]) != NULL)
            return true;
    return false;
}

static void read_rope(key_reader *r, const architecture *a, const model_config *c, rope_plan *p)
{
    *p = (rope_plan){.layout = a->rope, .scale = 1.0f, .magnitude = 1.0f};
    p->dims = key_count(r, "rope.dimension_count", c->head_dim, 4096);
    p->base = key_float(r, "rope.freq_base", 10000.0);
    p->divided = has_rope_factors(r->file);
    p->original_context =
        key_count(r, "rope.scaling.original_context_length", c->context_length, 1u << 30);
    key_refuse(r, "rope.scaling.alpha", 0);
    if (r->code != OK || key_is(r, "rope.scaling.type", "none"))
        return;
    const char *key =
        key_has(r, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    float factor = key_optional_float(r, key, 1.0);
    p->scale = 1.0f / factor;
    if (key_is(r, "rope.scaling.type", "yarn"))
        read_yarn(r, factor, p);
    else if (r->code == OK && key_has(r, "rope.scaling.type") &&
             !key_is(r, "rope.scaling.type", "linear") &&
             !key_is(r, "rope.scaling.type", "longrope"))
        r->code = failure_set(r->fail, ERR_UNSUPPORTED,
                              "the RoPE scaling of key %s.rope.scaling.type is not supported "
                              "(known: none, linear, yarn, longrope)",
                              r->architecture);
    float given = key_optional_float(r, "rope.scaling.attn_factor", 1.0);
    bool is_whole =
        a->yarn_factor_is_whole && p->yarn_mix > 0 && key_has(r, "rope.scaling.attn_factor");
    p->magnitude = is_whole ? given : p->magnitude * given;
}

/* What layers with a window turn by: the same, or another base without the scaling. */
static void read_window_rope(key_reader *r, const architecture *a, model_config *c)
{
    rope_plan *p = &c->ropes[1];
    *p = c->ropes[0];
    double base = a->window_rope_base > 0 ? (double)a->window_rope_base : (double)p->base;
    p->base = key_float(r, "rope.freq_base_swa", base);
    if (!a->window_rope_is_unscaled)
        return;
    p->scale = p->magnitude = 1.0f;
    p->yarn_mix = 0;
    p->divided = false;
}

/* ---- layers ---------------------------------------------------------------------------------- */

static size_t read_window(key_reader *r, const architecture *a, const model_config *c)
{
    size_t window = key_optional_count(r, "attention.sliding_window", 1u << 30);
    /* More than there ever is: all. Where kinds of layers differ in more than that (what they turn
     * by), they stay what they are. */
    if (window >= c->context_length && a->window != WINDOW_PATTERN)
        window = 0;
    bool by_default = !key_has(r, "attention.sliding_window") &&
                      (a->default_window_layers == 0 || c->n_layers == a->default_window_layers);
    if (by_default)
        window = a->default_window;
    if (a->window == WINDOW_NEVER && window > 0 && r->code == OK)
        r->code = failure_set(r->fail, ERR_UNSUPPORTED,
                              "key %s.attention.sliding_window = %zu is not supported",
                              r->architecture, window);
    return window;
}

/* Every n-th layer is of the first kind: the last of each group of n. */
static void place_by_pattern(model_config *c, size_t n)
{
    for (size_t i = 0; i < c->n_layers; i++)
        c->kind_of_layer[i] = n == 0 || (i + 1) % n != 0;
}

/* An array has a truth for every layer (some files': for more than there are), a number a period.
 */
static void place_windows(key_reader *r, const architecture *a, model_config *c)
{
    char name[KEY_NAME_SIZE];
    int32_t *values;
    size_t n;
    key_name(r, "attention.sliding_window_pattern", name);
    if (gguf_i32_array(r->file, name, &values, &n, NULL) != OK) {
        place_by_pattern(c, key_count(r, "attention.sliding_window_pattern", a->window_pattern,
                                      MODEL_MAX_LAYERS));
        return;
    }
    if (n < c->n_layers)
        r->code = failure_set(r->fail, ERR_FORMAT, "key %s has %zu values for %zu layers", name, n,
                              c->n_layers);
    for (size_t i = 0; i < c->n_layers && r->code == OK; i++)
        c->kind_of_layer[i] = values[i] != 0;
    free(values);
}

static float attention_scale(key_reader *r, const architecture *a, const model_config *c)
{
    bool by_width = a->layers_scaled_by_width > 0 && c->n_layers == a->layers_scaled_by_width;
    size_t width = by_width ? c->n_embd / c->n_heads : c->head_dim;
    float scale = 1.0f / sqrtf((float)width);
    return a->scales ? key_optional_float(r, "attention.scale", (double)scale) : scale;
}

static void read_layers(key_reader *r, const architecture *a, model_config *c)
{
    layer_plan plain = {.qk_norm = a->qk_norm,
                        .activation = a->activation,
                        .residual_scale = 1.0f,
                        .is_parallel = a->is_parallel,
                        .attention_scale = attention_scale(r, a, c)};
    if (a->scales)
        plain.residual_scale = key_optional_float(r, "residual_scale", 1.0);
    if (a->soft_caps)
        plain.attention_soft_cap =
            key_optional_float(r, "attn_logit_softcapping", (double)a->attention_soft_cap);
    size_t window = read_window(r, a, c);
    if (r->code != OK)
        return;
    if (a->rope_use == ROPE_SWITCHED && key_is_false(r, "rope.scaling.finetuned"))
        plain.rope = LAYER_NO_ROPE;
    layer_plan other = plain;
    if (a->window == WINDOW_EVERY_LAYER) {
        plain.window = window;
    } else if (a->rope_use == ROPE_EXCEPT_FOURTH) {
        plain.rope = LAYER_NO_ROPE;
        place_by_pattern(c, 4);
    } else if (window > 0) {
        if (a->rope_use == ROPE_IN_WINDOWS)
            plain.rope = LAYER_NO_ROPE;
        other.window = window;
        other.rope = 1;
        read_window_rope(r, a, c);
        place_windows(r, a, c);
    }
    c->kinds[0] = plain;
    c->kinds[1] = other;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void read_ends(key_reader *r, const architecture *a, model_config *c)
{
    c->embedding_scale = a->embedding_root ? sqrtf((float)c->n_embd) : 1.0f;
    if (a->scales)
        c->embedding_scale = key_optional_float(r, "embedding_scale", 1.0);
    c->logit_scale = 1.0f;
    if (a->logit_scaling != LOGITS_UNSCALED)
        c->logit_scale = key_optional_float(r, "logit_scale", 1.0);
    if (a->logit_scaling == LOGITS_DIVIDED)
        c->logit_scale = 1.0f / c->logit_scale;
    if (a->soft_caps)
        c->logit_soft_cap =
            key_optional_float(r, "final_logit_softcapping", (double)a->logit_soft_cap);
    if (a->temperature)
        c->temperature_scale = key_optional_float(r, "attention.temperature_scale", 0);
    if (c->temperature_scale > 0)
        c->temperature_length = c->ropes[0].original_context;
}

static void refuse_unread(key_reader *r, const architecture *a)
{
    if (!a->scales) {
        key_refuse(r, "attention.scale", 0);
        key_refuse(r, "embedding_scale", 1);
        key_refuse(r, "residual_scale", 1);
    }
    if (a->logit_scaling == LOGITS_UNSCALED)
        key_refuse(r, "logit_scale", 1);
    if (!a->soft_caps) {
        key_refuse(r, "attn_logit_softcapping", 0);
        key_refuse(r, "final_logit_softcapping", 0);
    }
    if (!a->temperature)
        key_refuse(r, "attention.temperature_scale", 0);
    key_refuse(r, "attention.clamp_kqv", 0);
}

error_code model_config_read(model_config *out, const gguf *file, failure *fail)
{
    const architecture *a;
    error_code code = architecture_find(&a, file, fail);
    if (code != OK)
        return code;
    key_reader r = {.file = file, .architecture = a->name, .fail = fail};
    model_config c = {.architecture = a->name};
    read_sizes(&r, a, &c);
    if (r.code != OK)
        return r.code;
    read_rope(&r, a, &c, &c.ropes[0]);
    check_shape(&r, &c);
    if (r.code != OK)
        return r.code;
    read_layers(&r, a, &c);
    read_ends(&r, a, &c);
    refuse_unread(&r, a);
    if (r.code != OK)
        return r.code;
    const gguf_tensor *embedding = gguf_tensor_find(file, "token_embd.weight");
    if (embedding != NULL)
        c.n_vocab = (size_t)embedding->dims[1];
    c.tied_output = gguf_tensor_find(file, "output.weight") == NULL;
    *out = c;
    return OK;
}
