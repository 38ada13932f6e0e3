/* model_weights.c: binds a file's tensors to the weights of model.h. */
#include "model/model_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/weight_loader.h"

#define NAME_SIZE 64

static const char *layer_name(char text[NAME_SIZE], size_t layer, const char *suffix)
{
    snprintf(text, NAME_SIZE, "blk.%zu.%s", layer, suffix);
    return text;
}

/* ---- vectors --------------------------------------------------------------------------------- */

static void vector_of(weight_loader *l, size_t layer, const char *suffix, presence wanted,
                      size_t length, const float **out)
{
    char name[NAME_SIZE];
    loader_vector(l, layer_name(name, layer, suffix), wanted, length, out);
}

/* Biases of parts that are stacked in one matrix: all are there, or none. */
static void stacked_biases(weight_loader *l, size_t layer, presence wanted,
                           const char *const *suffixes, const size_t *lengths, size_t n,
                           const float **out)
{
    char names[MAX_PARTS][NAME_SIZE];
    const char *parts[MAX_PARTS] = {NULL};
    for (size_t i = 0; i < n; i++)
        parts[i] = layer_name(names[i], layer, suffixes[i]);
    if (wanted == REQUIRED || loader_has(l, parts[0]))
        loader_vectors(l, parts, lengths, n, out);
}

/* ---- attention ------------------------------------------------------------------------------- */

static void load_qkv(weight_loader *l, size_t layer, layer_weights *w)
{
    static const char *const weights[3] = {"attn_q.weight", "attn_k.weight", "attn_v.weight"};
    static const char *const biases[3] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
    const model_config *c = &l->m->config;
    size_t q = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim;
    const size_t rows[3] = {q, kv, kv};
    char name[NAME_SIZE];
    if (loader_has(l, layer_name(name, layer, "attn_qkv.weight"))) {
        loader_divided_matrix(l, name, rows, 3, c->n_embd, &w->qkv);
        vector_of(l, layer, "attn_qkv.bias", l->architecture->qkv_bias, q + 2 * kv, &w->qkv_bias);
        return;
    }
    char names[3][NAME_SIZE];
    const char *parts[3];
    for (size_t i = 0; i < 3; i++)
        parts[i] = layer_name(names[i], layer, weights[i]);
    loader_matrix(l, parts, rows, 3, c->n_embd, &w->qkv);
    if (l->architecture->qkv_bias != ABSENT)
        stacked_biases(l, layer, l->architecture->qkv_bias, biases, rows, 3, &w->qkv_bias);
}

static void load_qk_norms(weight_loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    if (l->architecture->qk_norm == QK_NORM_NONE)
        return;
    bool whole = l->architecture->qk_norm == QK_NORM_ROW;
    vector_of(l, layer, "attn_q_norm.weight", REQUIRED, (whole ? c->n_heads : 1) * c->head_dim,
              &w->q_norm);
    vector_of(l, layer, "attn_k_norm.weight", REQUIRED, (whole ? c->n_kv_heads : 1) * c->head_dim,
              &w->k_norm);
}

static void load_attention(weight_loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    const architecture *a = l->architecture;
    char name[NAME_SIZE];
    if (!a->no_input_norms)
        vector_of(l, layer, "attn_norm.weight", REQUIRED, c->n_embd, &w->attn_norm);
    load_qkv(l, layer, w);
    load_qk_norms(l, layer, w);
    if (a->sinks)
        vector_of(l, layer, "attn_sinks.weight", REQUIRED, c->n_heads, &w->sinks);
    loader_one_matrix(l, layer_name(name, layer, "attn_output.weight"), c->n_embd,
                      c->n_heads * c->head_dim, &w->attn_output);
    vector_of(l, layer, "attn_output.bias", a->attn_output_bias, c->n_embd, &w->attn_output_bias);
    if (a->post_norms)
        vector_of(l, layer, "post_attention_norm.weight", REQUIRED, c->n_embd, &w->attn_post_norm);
}

/* ---- the feed-forward network ---------------------------------------------------------------- */

/* The names of a dense network's tensors: its own, or those of the expert that every token meets.
 */
typedef struct dense_names {
    const char *gate, *up, *down;
} dense_names;

static void load_dense(weight_loader *l, size_t layer, dense_names names, layer_weights *w)
{
    const model_config *c = &l->m->config;
    char gate[NAME_SIZE], up[NAME_SIZE], down[NAME_SIZE];
    const size_t rows[2] = {c->n_ff, c->n_ff};
    const char *parts[2] = {layer_name(gate, layer, names.gate), layer_name(up, layer, names.up)};
    if (loader_has(l, gate))
        loader_matrix(l, parts, rows, 2, c->n_embd, &w->gate_up);
    else /* some files hold both in one tensor, the gate's rows first */
        loader_divided_matrix(l, up, rows, 2, c->n_embd, &w->gate_up);
    loader_one_matrix(l, layer_name(down, layer, names.down), c->n_embd, c->n_ff, &w->down);
}

static void load_dense_biases(weight_loader *l, size_t layer, layer_weights *w)
{
    static const char *const biases[2] = {"ffn_gate.bias", "ffn_up.bias"};
    const model_config *c = &l->m->config;
    const size_t rows[2] = {c->n_ff, c->n_ff};
    if (l->architecture->ffn_bias == ABSENT)
        return;
    stacked_biases(l, layer, l->architecture->ffn_bias, biases, rows, 2, &w->gate_up_bias);
    vector_of(l, layer, "ffn_down.bias", l->architecture->ffn_bias, c->n_embd, &w->down_bias);
}

static void load_expert_biases(weight_loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    char gate[NAME_SIZE], up[NAME_SIZE], down[NAME_SIZE];
    const char *both[2] = {layer_name(gate, layer, "ffn_gate_exps.bias"),
                           layer_name(up, layer, "ffn_up_exps.bias")};
    const char *back[1] = {layer_name(down, layer, "ffn_down_exps.bias")};
    loader_expert_bias(l, both, 2, c->n_expert_ff, &w->expert_gate_up_bias);
    loader_expert_bias(l, back, 1, c->n_embd, &w->expert_down_bias);
}

static void load_experts(weight_loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    const architecture *a = l->architecture;
    char name[NAME_SIZE], up[NAME_SIZE];
    loader_one_matrix(l, layer_name(name, layer, "ffn_gate_inp.weight"), c->n_experts, c->n_embd,
                      &w->router);
    if (a->router_bias)
        vector_of(l, layer, "ffn_gate_inp.bias", REQUIRED, c->n_experts, &w->router_bias);
    const char *parts[2] = {layer_name(name, layer, "ffn_gate_exps.weight"),
                            layer_name(up, layer, "ffn_up_exps.weight")};
    loader_experts(l, parts, 2, c->n_expert_ff, c->n_embd, &w->expert_gate_up);
    const char *back[1] = {layer_name(name, layer, "ffn_down_exps.weight")};
    loader_experts(l, back, 1, c->n_embd, c->n_expert_ff, &w->expert_down);
    if (a->expert_bias)
        load_expert_biases(l, layer, w);
    if (c->n_ff > 0) {
        load_dense(
            l, layer,
            (dense_names){"ffn_gate_shexp.weight", "ffn_up_shexp.weight", "ffn_down_shexp.weight"},
            w);
        if (a->shared_gate)
            vector_of(l, layer, "ffn_gate_inp_shexp.weight", REQUIRED, c->n_embd, &w->shared_gate);
    }
}

static void load_ffn(weight_loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    const architecture *a = l->architecture;
    if (a->is_parallel)
        w->ffn_norm = w->attn_norm;
    else if (!a->no_input_norms)
        vector_of(l, layer, a->ffn_norm_name != NULL ? a->ffn_norm_name : "ffn_norm.weight",
                  REQUIRED, c->n_embd, &w->ffn_norm);
    if (c->n_experts > 0) {
        load_experts(l, layer, w);
    } else {
        load_dense(l, layer, (dense_names){"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"},
                   w);
        load_dense_biases(l, layer, w);
    }
    if (a->post_norms)
        vector_of(l, layer, "post_ffw_norm.weight", REQUIRED, c->n_embd, &w->ffn_post_norm);
}

/* ---- the whole model ------------------------------------------------------------------------- */

/* LongRoPE files hold two sets of divisors: for contexts up to the original one, and beyond. */
static void load_rope_factors(weight_loader *l)
{
    model *m = l->m;
    size_t pairs = m->config.ropes[0].dims / 2;
    loader_vector(l, "rope_freqs.weight", OPTIONAL, pairs, &m->rope_factors);
    if (m->rope_factors != NULL)
        return;
    const float *brief = NULL, *extended = NULL;
    loader_vector(l, "rope_factors_short.weight", OPTIONAL, pairs, &brief);
    loader_vector(l, "rope_factors_long.weight", OPTIONAL, pairs, &extended);
    size_t context = l->options->context > 0 ? l->options->context : m->config.context_length;
    m->rope_factors = context > m->config.ropes[0].original_context ? extended : brief;
    if (l->code == OK && (brief == NULL) != (extended == NULL))
        l->code = failure_set(l->fail, ERR_FORMAT,
                              "only one of rope_factors_short and rope_factors_long is there");
}

static const char *output_name(const weight_loader *l)
{
    return l->m->config.tied_output ? "token_embd.weight" : "output.weight";
}

static void load_output(weight_loader *l)
{
    const model_config *c = &l->m->config;
    if (l->options->head != NULL)
        loader_head(l, output_name(l), c->n_vocab, c->n_embd, !c->tied_output, &l->m->output);
    else
        loader_one_matrix(l, output_name(l), c->n_vocab, c->n_embd, &l->m->output);
}

static error_code check_all_used(const weight_loader *l)
{
    size_t n = gguf_tensor_count(l->m->file);
    if (l->used == n)
        return OK;
    return failure_set(l->fail, ERR_UNSUPPORTED,
                       "%zu of the file's %zu tensors have no place in architecture '%s': the file "
                       "is a variant that would be computed wrongly",
                       n - l->used, n, l->architecture->name);
}

static void load_all(weight_loader *l)
{
    const model_config *c = &l->m->config;
    loader_start(l);
    /* First: while there is room for it beside the matrices. A tied output in fewer bits leaves the
     * embedding as it was. */
    if (!c->tied_output || l->options->head != NULL)
        loader_embedding(l, "token_embd.weight", c->n_vocab, c->n_embd);
    for (size_t i = 0; l->code == OK && i < c->n_layers; i++) {
        load_attention(l, i, &l->m->layers[i]);
        load_ffn(l, i, &l->m->layers[i]);
    }
    load_rope_factors(l);
    loader_vector(l, "output_norm.weight", REQUIRED, c->n_embd, &l->m->output_norm);
    load_output(l);
}

error_code model_weights_start(packer **out, model *m, const architecture *a,
                               const model_options *options, failure *fail)
{
    weight_loader l = {.m = m, .architecture = a, .options = options, .fail = fail};
    m->layers = calloc(m->config.n_layers, sizeof *m->layers);
    if (m->layers == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu layers", m->config.n_layers);
    load_all(&l);
    if (l.code == OK)
        l.code = check_all_used(&l);
    *out = l.packer;
    if (l.code == OK)
        packer_start(l.packer);
    return l.code;
}

error_code model_weights_finish(packer *p, const model_options *options, failure *fail)
{
    do { /* at least once: the packer's threads may have done all of it */
        if (options->progress != NULL)
            options->progress(options->progress_context, packer_progress(p));
    } while (packer_help(p));
    return packer_finish(p, fail);
}

static void destroy_matrices(matrix **matrices, size_t n)
{
    for (size_t i = 0; matrices != NULL && i < n; i++)
        matrix_destroy(matrices[i]);
    free(matrices);
}

void model_weights_destroy(model *m)
{
    for (size_t i = 0; m->layers != NULL && i < m->config.n_layers; i++) {
        layer_weights *w = &m->layers[i];
        matrix_destroy(w->qkv);
        matrix_destroy(w->attn_output);
        matrix_destroy(w->gate_up);
        matrix_destroy(w->down);
        matrix_destroy(w->router);
        destroy_matrices(w->expert_gate_up, m->config.n_experts);
        destroy_matrices(w->expert_down, m->config.n_experts);
    }
    free(m->layers);
    for (size_t i = 0; i < m->n_vectors; i++)
        free(m->vectors[i]);
    free(m->vectors);
    matrix_destroy(m->output);
    weight_memory_destroy(m->weights);
}
