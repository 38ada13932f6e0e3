/* models.c: what there is to ask: models as OpenAI lists them, and as llama-server describes its
 * own. */
#include "server/exchange.h"

#include <string.h>

#include "base/json.h"

/* ---- a list ---------------------------------------------------------------------------------- */

/* What clients may call it, its own name first. */
static json_t *aliases_json(const server *s, const char *name)
{
    const server_options *o = &s->options;
    json_t *list = json_pack("[s]", name);
    for (uint32_t i = 0; i < o->alias_names.n; i++)
        if (strcmp(o->alias_models.texts[i], name) == 0)
            json_array_append_new(list, json_string(o->alias_names.texts[i]));
    return list;
}

static json_t *entry_json(const server *s, size_t index)
{
    const model *m = orchestra_model(s->orchestra, index);
    const char *name = orchestra_model_name(s->orchestra, index);
    size_t context = backend_context(orchestra_backend(s->orchestra, index));
    json_t *entry = model_json(name, context, s->created);
    json_object_set_new(entry, "aliases", aliases_json(s, name));
    if (m == NULL)
        return entry;
    json_object_set_new(entry, "meta",
                        json_pack("{s:I, s:I, s:I, s:I, s:I}", "n_ctx", (json_int_t)context,
                                  "n_ctx_train", (json_int_t)m->config.context_length, "n_vocab",
                                  (json_int_t)m->config.n_vocab, "n_embd",
                                  (json_int_t)m->config.n_embd, "size",
                                  (json_int_t)model_resident_bytes(m)));
    return entry;
}

/* With one model nothing is routed: auto is only another name of it. */
bool models_list(exchange *e)
{
    server *s = e->server;
    size_t n = orchestra_model_count(s->orchestra);
    json_t *list = json_array();
    if (n > 1)
        json_array_append_new(list, model_json("auto", 0, s->created));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, entry_json(s, i));
    for (uint32_t i = 0; i < s->options.alias_names.n; i++)
        json_array_append_new(list, model_json(s->options.alias_names.texts[i], 0, s->created));
    return exchange_answer(e, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

bool models_one(exchange *e)
{
    server *s = e->server;
    if (strcmp(e->argument, "auto") == 0)
        return exchange_answer(e, 200, model_json("auto", 0, s->created));
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++)
        if (strcmp(e->argument, orchestra_model_name(s->orchestra, i)) == 0)
            return exchange_answer(e, 200, entry_json(s, i));
    for (uint32_t i = 0; i < s->options.alias_names.n; i++)
        if (strcmp(e->argument, s->options.alias_names.texts[i]) == 0)
            return exchange_answer(e, 200, model_json(e->argument, 0, s->created));
    api_error error;
    api_error_set(&error, 404, "model_not_found", "model",
                  "there is no model '%s'; GET /v1/models lists them", e->argument);
    return exchange_answer_error(e, &error);
}

/* ---- llama-server's -------------------------------------------------------------------------- */

size_t models_largest(const server *s)
{
    size_t found = 0;
    for (size_t i = 1; i < orchestra_model_count(s->orchestra); i++)
        if (backend_context(orchestra_backend(s->orchestra, i)) >=
            backend_context(orchestra_backend(s->orchestra, found)))
            found = i;
    return found;
}

/* Of a model elsewhere (NULL) nothing is known. */
static json_t *token_json(const tokenizer *t, int32_t id)
{
    size_t length = 0;
    const char *text = t != NULL && id >= 0 ? tokenizer_bytes(t, id, true, &length) : "";
    return json_text(text, length);
}

/* Its folder is none of the client's business. */
static const char *file_name(const server *s, size_t index)
{
    const char *path = orchestra_model_path(s->orchestra, index);
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    if (path == NULL)
        return "";
    return slash != NULL ? slash + 1 : path;
}

/* One model's; with a pair, the large one's. */
bool models_props(exchange *e)
{
    server *s = e->server;
    size_t i = models_largest(s);
    const model *m = orchestra_model(s->orchestra, i);
    const tokenizer *words = m != NULL ? m->tokenizer : NULL;
    backend *b = orchestra_backend(s->orchestra, i);
    backend_load status;
    backend_read_load(b, &status);
    json_t *props = json_pack(
        "{s:{s:I, s:o}, s:I, s:s, s:s, s:s, s:o, s:o, s:{s:b, s:b}, s:s, s:b, s:b, s:b, s:b}",
        "default_generation_settings", "n_ctx", (json_int_t)backend_context(b), "params",
        native_defaults_json(&s->options.defaults), "total_slots", (json_int_t)status.slots,
        "model_alias", orchestra_model_name(s->orchestra, i), "model_path", file_name(s, i),
        "chat_template", m != NULL && m->chat != NULL ? chat_template_text(m->chat) : "",
        "bos_token", token_json(words, words != NULL ? tokenizer_bos(words) : -1), "eos_token",
        token_json(words, words != NULL ? tokenizer_eos(words) : -1), "modalities", "vision", 0,
        "audio", 0, "build_info", SYSTEM_FINGERPRINT, "endpoint_slots", 1, "endpoint_props", 0,
        "endpoint_metrics", 1, "is_sleeping", 0);
    return exchange_answer(e, 200, props);
}

/* What vLLM's clients ask before they have texts tokenised here. */
bool models_tokenizer_info(exchange *e)
{
    const orchestra *o = e->server->orchestra;
    size_t i = models_largest(e->server);
    const model *m = orchestra_model(o, i);
    if (m == NULL) {
        api_error error;
        api_error_set(&error, 501, NULL, "",
                      "the server of model '%s' cannot tell what its tokens are",
                      orchestra_model_name(o, i));
        return exchange_answer_error(e, &error);
    }
    const tokenizer *t = m->tokenizer;
    return exchange_answer(
        e, 200,
        json_pack("{s:s, s:o, s:o, s:s?}", "tokenizer_class", "a-io", "bos_token",
                  tokenizer_bos(t) >= 0 ? token_json(t, tokenizer_bos(t)) : json_null(),
                  "eos_token",
                  tokenizer_eos(t) >= 0 ? token_json(t, tokenizer_eos(t)) : json_null(),
                  "chat_template", m->chat != NULL ? chat_template_text(m->chat) : NULL));
}

/* Places are not told apart here: as many are taken as replies run. */
bool models_slots(exchange *e)
{
    const server *s = e->server;
    json_t *list = json_array();
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++) {
        backend *b = orchestra_backend(s->orchestra, i);
        backend_load status;
        backend_read_load(b, &status);
        for (size_t k = 0; k < status.slots; k++)
            json_array_append_new(list, json_pack("{s:I, s:s, s:I, s:b, s:b}", "id",
                                                  (json_int_t)json_array_size(list), "model",
                                                  orchestra_model_name(s->orchestra, i), "n_ctx",
                                                  (json_int_t)backend_context(b), "speculative", 1,
                                                  "is_processing", (int)(k < status.running)));
    }
    return exchange_answer(e, 200, list);
}
