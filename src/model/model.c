/* model.c: binds a file's tensors to the weights of model.h. Every tensor of the file must be used:
 * one that is not would mean that this forward pass computes something else than the file's author
 * did. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/architecture.h"

typedef struct loader {
    model *m;
    const architecture *architecture;
    const model_options *options;
    failure *fail;
    size_t used;              /* tensors bound so far */
    size_t steps_done, steps; /* for progress: matrices repacked */
} loader;

static size_t ffn_count(const model_config *c)
{
    return c->n_experts > 0 ? c->n_experts : 1;
}

static void loader_progress(loader *l)
{
    l->steps_done++;
    if (l->options->progress != NULL)
        l->options->progress(l->options->progress_context,
                             (double)l->steps_done / (double)l->steps);
}

/* rows 1 for a vector; planes 1 but for experts, which are stacked in the third dimension. */
static error_code find_tensor(loader *l, const char *name, size_t cols, size_t rows, size_t planes,
                              const gguf_tensor **out)
{
    const gguf_tensor *t = gguf_tensor_find(l->m->file, name);
    if (t == NULL)
        return failure_set(l->fail, ERR_FORMAT, "tensor '%s' is missing", name);
    if (t->dims[0] != cols || t->dims[1] != rows || t->dims[2] != planes || t->dims[3] != 1)
        return failure_set(l->fail, ERR_FORMAT,
                           "tensor '%s' is %llu x %llu x %llu, must be %zu x %zu x %zu", name,
                           (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                           (unsigned long long)t->dims[2], cols, rows, planes);
    l->used++;
    *out = t;
    return OK;
}

/* Decodes n_parts vectors one after the other into one f32 vector that the model owns. */
static error_code load_vector(loader *l, const char *const *names, const size_t *lengths,
                              size_t n_parts, const float **out)
{
    size_t total = 0;
    for (size_t i = 0; i < n_parts; i++)
        total += lengths[i];
    float *values = malloc(total * sizeof *values);
    if (values == NULL)
        return failure_set(l->fail, ERR_MEMORY, "no memory for %zu values", total);
    l->m->vectors[l->m->n_vectors++] = values;
    *out = values;
    for (size_t i = 0; i < n_parts; i++) {
        const gguf_tensor *t;
        error_code code = find_tensor(l, names[i], lengths[i], 1, 1, &t);
        if (code != OK)
            return code;
        t->type->decode(t->data, values, lengths[i]);
        values += lengths[i];
    }
    l->m->weight_bytes += total * sizeof(float);
    return OK;
}

static error_code load_one_vector(loader *l, const char *name, size_t length, const float **out)
{
    return load_vector(l, &name, &length, 1, out);
}

#define MAX_PARTS 3

static void drop_file_pages(void *file)
{
    gguf_drop_pages(file);
}

static error_code pack_matrix(loader *l, const char *name, const matrix_source *sources,
                              size_t n_sources, size_t cols, matrix **out)
{
    /* As it goes, not at the end: the file and its packed copy are never resident together. */
    const matrix_packing how = {l->m->weights, drop_file_pages, l->m->file};
    error_code code = matrix_create_packed(out, sources, n_sources, cols, &how, l->fail);
    if (code != OK)
        return failure_prefix(l->fail, "tensor '%s'", name);
    loader_progress(l);
    return OK;
}

static error_code load_matrix(loader *l, const char *const *names, const size_t *rows,
                              size_t n_parts, size_t cols, matrix **out)
{
    matrix_source sources[MAX_PARTS];
    for (size_t i = 0; i < n_parts; i++) {
        const gguf_tensor *t;
        error_code code = find_tensor(l, names[i], cols, rows[i], 1, &t);
        if (code != OK)
            return code;
        sources[i] = (matrix_source){t->type->type, t->data, rows[i]};
    }
    error_code code = pack_matrix(l, names[0], sources, n_parts, cols, out);
    if (code == OK)
        l->m->weight_bytes += matrix_bytes(*out);
    return code;
}

static error_code load_one_matrix(loader *l, const char *name, size_t rows, size_t cols,
                                  matrix **out)
{
    return load_matrix(l, &name, &rows, 1, cols, out);
}

#define NAME_SIZE 64

static const char *layer_name(char *text, size_t layer, const char *suffix)
{
    snprintf(text, NAME_SIZE, "blk.%zu.%s", layer, suffix);
    return text;
}

static error_code load_attention(loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    char name[NAME_SIZE], q[NAME_SIZE], k[NAME_SIZE], v[NAME_SIZE];
    const size_t rows[3] = {c->n_heads * c->head_dim, c->n_kv_heads * c->head_dim,
                            c->n_kv_heads * c->head_dim};
    const char *weights[3] = {layer_name(q, layer, "attn_q.weight"),
                              layer_name(k, layer, "attn_k.weight"),
                              layer_name(v, layer, "attn_v.weight")};
    error_code code =
        load_one_vector(l, layer_name(name, layer, "attn_norm.weight"), c->n_embd, &w->attn_norm);
    if (code == OK)
        code = load_matrix(l, weights, rows, 3, c->n_embd, &w->qkv);
    if (code == OK)
        code = load_one_matrix(l, layer_name(name, layer, "attn_output.weight"), c->n_embd, rows[0],
                               &w->attn_output);
    if (code == OK && l->architecture->qkv_bias) {
        const char *biases[3] = {layer_name(q, layer, "attn_q.bias"),
                                 layer_name(k, layer, "attn_k.bias"),
                                 layer_name(v, layer, "attn_v.bias")};
        code = load_vector(l, biases, rows, 3, &w->qkv_bias);
    }
    if (code == OK && l->architecture->attn_output_bias)
        code = load_one_vector(l, layer_name(name, layer, "attn_output.bias"), c->n_embd,
                               &w->attn_output_bias);
    if (code == OK && l->architecture->qk_norm)
        code = load_one_vector(l, layer_name(name, layer, "attn_q_norm.weight"), c->head_dim,
                               &w->q_norm);
    if (code == OK && l->architecture->qk_norm)
        code = load_one_vector(l, layer_name(name, layer, "attn_k_norm.weight"), c->head_dim,
                               &w->k_norm);
    return code;
}

static matrix_source plane_of(const gguf_tensor *t, size_t plane)
{
    size_t bytes = t->bytes / (size_t)t->dims[2];
    return (matrix_source){t->type->type, (const char *)t->data + plane * bytes,
                           (size_t)t->dims[1]};
}

static error_code load_experts(loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    char name[NAME_SIZE], gate_name[NAME_SIZE], up_name[NAME_SIZE], down_name[NAME_SIZE];
    const gguf_tensor *gate, *up, *down;
    size_t n = c->n_experts, bytes = 0;
    error_code code = load_one_matrix(l, layer_name(name, layer, "ffn_gate_inp.weight"), n,
                                      c->n_embd, &w->router);
    if (code == OK)
        code = find_tensor(l, layer_name(gate_name, layer, "ffn_gate_exps.weight"), c->n_embd,
                           c->n_ff, n, &gate);
    if (code == OK)
        code = find_tensor(l, layer_name(up_name, layer, "ffn_up_exps.weight"), c->n_embd, c->n_ff,
                           n, &up);
    if (code == OK)
        code = find_tensor(l, layer_name(down_name, layer, "ffn_down_exps.weight"), c->n_ff,
                           c->n_embd, n, &down);
    for (size_t i = 0; code == OK && i < n; i++) {
        const matrix_source both[2] = {plane_of(gate, i), plane_of(up, i)};
        const matrix_source back = plane_of(down, i);
        code = pack_matrix(l, gate_name, both, 2, c->n_embd, &w->gate_up[i]);
        if (code == OK)
            code = pack_matrix(l, down_name, &back, 1, c->n_ff, &w->down[i]);
        if (code == OK)
            bytes += matrix_bytes(w->gate_up[i]) + matrix_bytes(w->down[i]);
    }
    l->m->weight_bytes += bytes / n * c->n_experts_used; /* what one row reads */
    return code;
}

static error_code load_dense(loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    char name[NAME_SIZE], gate[NAME_SIZE], up[NAME_SIZE];
    const size_t rows[2] = {c->n_ff, c->n_ff};
    const char *weights[2] = {layer_name(gate, layer, "ffn_gate.weight"),
                              layer_name(up, layer, "ffn_up.weight")};
    error_code code = load_matrix(l, weights, rows, 2, c->n_embd, &w->gate_up[0]);
    if (code == OK)
        code = load_one_matrix(l, layer_name(name, layer, "ffn_down.weight"), c->n_embd, c->n_ff,
                               &w->down[0]);
    return code;
}

static error_code load_ffn(loader *l, size_t layer, layer_weights *w)
{
    const model_config *c = &l->m->config;
    char name[NAME_SIZE];
    w->gate_up = calloc(ffn_count(c), sizeof *w->gate_up);
    w->down = calloc(ffn_count(c), sizeof *w->down);
    if (w->gate_up == NULL || w->down == NULL)
        return failure_set(l->fail, ERR_MEMORY, "no memory for layer %zu", layer);
    error_code code =
        load_one_vector(l, layer_name(name, layer, "ffn_norm.weight"), c->n_embd, &w->ffn_norm);
    if (code == OK)
        code = c->n_experts > 0 ? load_experts(l, layer, w) : load_dense(l, layer, w);
    return code;
}

static error_code load_ends(loader *l)
{
    model *m = l->m;
    const model_config *c = &m->config;
    error_code code = find_tensor(l, "token_embd.weight", c->n_embd, c->n_vocab, 1, &m->embedding);
    if (code == OK && gguf_tensor_find(m->file, "rope_freqs.weight") != NULL)
        code = load_one_vector(l, "rope_freqs.weight", c->rope_dims / 2, &m->rope_factors);
    if (code == OK)
        code = load_one_vector(l, "output_norm.weight", c->n_embd, &m->output_norm);
    if (code == OK)
        code = load_one_matrix(l, c->tied_output ? "token_embd.weight" : "output.weight",
                               c->n_vocab, c->n_embd, &m->output);
    if (code == OK && c->tied_output)
        l->used--; /* the embedding, found twice */
    return code;
}

/* Packed matrices are at most 3 % larger than the file's, and a few rows. What should not find room
 * after all gets memory of its own. */
static error_code reserve_weights(loader *l)
{
    size_t file_bytes = (size_t)gguf_file_bytes(l->m->file);
    return weight_memory_create(&l->m->weights, file_bytes + file_bytes / 16, l->fail);
}

static error_code load_weights(loader *l)
{
    model *m = l->m;
    const size_t vectors_per_layer = 6, vectors_outside = 2;
    size_t in_layer = 2 + 2 * ffn_count(&m->config) + (m->config.n_experts > 0 ? 1 : 0);
    l->steps = m->config.n_layers * in_layer + 1;
    m->layers = calloc(m->config.n_layers, sizeof *m->layers);
    m->vectors =
        calloc(m->config.n_layers * vectors_per_layer + vectors_outside, sizeof *m->vectors);
    if (m->layers == NULL || m->vectors == NULL)
        return failure_set(l->fail, ERR_MEMORY, "no memory for %zu layers", m->config.n_layers);
    error_code code = reserve_weights(l);
    for (size_t i = 0; code == OK && i < m->config.n_layers; i++) {
        code = load_attention(l, i, &m->layers[i]);
        if (code == OK)
            code = load_ffn(l, i, &m->layers[i]);
    }
    return code == OK ? load_ends(l) : code;
}

static error_code check_all_used(const loader *l)
{
    size_t n = gguf_tensor_count(l->m->file);
    if (l->used == n)
        return OK;
    return failure_set(l->fail, ERR_UNSUPPORTED,
                       "%zu of the file's %zu tensors have no place in architecture '%s': the file "
                       "is a variant that would be computed wrongly",
                       n - l->used, n, l->architecture->name);
}

static error_code load_chat(model *m, const architecture *a, const char *name, failure *fail)
{
    gguf_string jinja;
    if (name != NULL && strcmp(name, "none") == 0)
        return OK;
    if (name != NULL)
        return chat_template_named(&m->chat, name, fail);
    if (gguf_text(m->file, "tokenizer.chat_template", &jinja))
        return chat_template_recognise(&m->chat, jinja.data, jinja.length, fail);
    if (a->default_chat != NULL)
        return chat_template_named(&m->chat, a->default_chat, fail);
    return OK;
}

static error_code load_words(model *m, const architecture *a, const model_options *options,
                             failure *fail)
{
    error_code code = tokenizer_load(&m->tokenizer, m->file, fail);
    if (code != OK)
        return code;
    if (tokenizer_size(m->tokenizer) > m->config.n_vocab)
        return failure_set(fail, ERR_FORMAT, "the tokenizer has %zu tokens, the embedding only %zu",
                           tokenizer_size(m->tokenizer), m->config.n_vocab);
    return load_chat(m, a, options->chat_template, fail);
}

static error_code load_all(model *m, const char *path, const model_options *options, failure *fail)
{
    loader l = {.m = m, .options = options, .fail = fail};
    error_code code = gguf_open(&m->file, path, fail);
    if (code != OK)
        return code; /* already names the file */
    code = architecture_find(&l.architecture, m->file, fail);
    if (code == OK)
        code = model_config_read(&m->config, m->file, fail);
    if (code == OK)
        code = load_words(m, l.architecture, options, fail);
    if (code == OK)
        code = load_weights(&l);
    if (code == OK)
        code = check_all_used(&l);
    return code == OK ? OK : failure_prefix(fail, "%s", path);
}

error_code model_load(model **out, const char *path, const model_options *options, failure *fail)
{
    model *m = calloc(1, sizeof *m);
    if (m == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a model");
    error_code code = load_all(m, path, options, fail);
    if (code != OK) {
        model_destroy(m);
        return code;
    }
    *out = m;
    return OK;
}

static void destroy_matrices(matrix **matrices, size_t n)
{
    for (size_t i = 0; matrices != NULL && i < n; i++)
        matrix_destroy(matrices[i]);
    free(matrices);
}

void model_destroy(model *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; m->layers != NULL && i < m->config.n_layers; i++) {
        layer_weights *w = &m->layers[i];
        matrix_destroy(w->qkv);
        matrix_destroy(w->attn_output);
        matrix_destroy(w->router);
        destroy_matrices(w->gate_up, ffn_count(&m->config));
        destroy_matrices(w->down, ffn_count(&m->config));
    }
    for (size_t i = 0; i < m->n_vectors; i++)
        free(m->vectors[i]);
    free(m->vectors);
    free(m->layers);
    matrix_destroy(m->output);
    weight_memory_destroy(m->weights);
    tokenizer_destroy(m->tokenizer);
    gguf_close(m->file);
    free(m);
}

void model_embed(const model *m, int32_t token, float *out)
{
    const gguf_tensor *t = m->embedding;
    size_t row_bytes = t->bytes / m->config.n_vocab;
    t->type->decode((const char *)t->data + (size_t)token * row_bytes, out, m->config.n_embd);
}
