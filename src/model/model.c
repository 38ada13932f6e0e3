/* model.c: a model file in memory, from its parts to the whole. */
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "model/architecture.h"
#include "model/fingerprint.h"
#include "model/gguf_ahead.h"
#include "model/grammar.h"
#include "model/model_weights.h"

static error_code load_chat(model *m, const architecture *a, const char *name, failure *fail)
{
    gguf_string jinja;
    chat_vocabulary words = {.tokenizer = m->tokenizer};
    if (name != NULL && strcmp(name, "none") == 0)
        return OK;
    if (name != NULL)
        return chat_template_choose(&m->chat, name, words, fail);
    if (!gguf_text(m->file, "tokenizer.chat_template", &jinja))
        return a->default_chat != NULL
                   ? chat_template_choose(&m->chat, a->default_chat, words, fail)
                   : OK;
    /* A template that does not compile is no reason to refuse raw prompts. */
    error_code code =
        chat_template_compile(&m->chat, jinja.data, jinja.length, words, &m->chat_failure);
    return code == ERR_MEMORY ? failure_set(fail, code, "%s", m->chat_failure.text) : OK;
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
    m->words = grammar_words_create();
    if (m->words == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a model");
    return load_chat(m, a, options->chat_template, fail);
}

/* Other threads pack while this one reads the vocabulary. */
static error_code load_content(model *m, const architecture *a, const model_options *options,
                               failure *fail)
{
    packer *weights = NULL;
    error_code code = model_weights_start(&weights, m, a, options, fail);
    if (code == OK)
        code = load_words(m, a, options, fail);
    if (code == OK)
        code = model_weights_finish(weights, options, fail);
    packer_destroy(weights);
    return code;
}

static error_code load_parts(model *m, const model_options *options, failure *fail)
{
    const architecture *a = NULL;
    error_code code = architecture_find(&a, m->file, fail);
    if (code == OK)
        code = model_config_read(&m->config, m->file, fail);
    if (code == OK)
        code = load_content(m, a, options, fail);
    if (code == OK)
        code = fingerprint_of(m->file, &m->fingerprint, fail);
    if (code == OK && options->head != NULL)
        m->fingerprint = fingerprint_with_head(m->fingerprint, options->head);
    return code;
}

static error_code load_all(model *m, const char *path, const model_options *options, failure *fail)
{
    error_code code = gguf_open(&m->file, path, fail);
    if (code != OK)
        return code; /* already names the file */
    gguf_ahead *ahead = gguf_ahead_start(m->file);
    code = load_parts(m, options, fail);
    gguf_ahead_stop(ahead);
    if (code == OK)
        code = gguf_release_data(m->file, fail);
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

void model_destroy(model *m)
{
    if (m == NULL)
        return;
    model_weights_destroy(m);
    chat_template_destroy(m->chat);
    grammar_words_destroy(m->words);
    tokenizer_destroy(m->tokenizer);
    gguf_close(m->file);
    free(m);
}

/* weight_bytes counts of the experts only those that one token meets. */
size_t model_resident_bytes(const model *m)
{
    size_t n = m->config.n_experts, bytes = m->weight_bytes + m->embedding_bytes;
    for (size_t i = 0; i < m->config.n_layers && n > 0; i++) {
        size_t all = 0;
        for (size_t k = 0; k < n; k++)
            all += matrix_bytes(m->layers[i].expert_gate_up[k]) +
                   matrix_bytes(m->layers[i].expert_down[k]);
        bytes += all - all / n * m->config.n_experts_used;
    }
    return bytes;
}

void model_embed(const model *m, int32_t token, float *out)
{
    size_t row_bytes = m->embedding_bytes / m->config.n_vocab;
    if (m->embedding != NULL)
        m->embedding_type->decode((const char *)m->embedding + (size_t)token * row_bytes, out,
                                  m->config.n_embd);
    else
        matrix_read_row(m->output, (size_t)token, out);
    if (m->config.embedding_scale != 1.0f)
        vector_scale(out, m->config.embedding_scale, m->config.n_embd);
}
