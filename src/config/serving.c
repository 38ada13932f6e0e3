/* serving.c: the engine, the server and the log of decisions. */
#include <stdlib.h>
#include <string.h>

#include "config/sections.h"
#include "config/take.h"

static bool take_texts(config_texts *to, char *const *texts, uint32_t n)
{
    to->texts = n > 0 ? calloc(n, sizeof *to->texts) : NULL;
    for (; to->n < n && to->texts != NULL; to->n++)
        if (!config_copy_text(&to->texts[to->n], texts[to->n], NULL))
            return false;
    return to->n == n;
}

static void free_texts(config_texts *list)
{
    for (uint32_t i = 0; i < list->n; i++)
        free(list->texts[i]);
    free(list->texts);
}

/* Models are there already. */
static error_code check_alias(const config *c, const char *key, const char *model, failure *fail)
{
    bool is_known = strcmp(model, "auto") == 0;
    for (uint32_t i = 0; !is_known && i < c->n_models; i++)
        is_known = strcmp(c->models[i].name, model) == 0;
    if (is_known)
        return OK;
    return failure_set(fail, ERR_CONFIG, "%s: there is no model \"%s\"", key, model);
}

static error_code take_aliases(config *c, const file_server *f, failure *fail)
{
    config_server *to = &c->server;
    uint32_t n = f->n_aliases;
    error_code code = OK;
    to->alias_names.texts = calloc(n + 1, sizeof *to->alias_names.texts);
    to->alias_models.texts = calloc(n + 1, sizeof *to->alias_models.texts);
    if (to->alias_names.texts == NULL || to->alias_models.texts == NULL)
        return config_no_memory(fail);
    for (uint32_t i = 0; code == OK && i < n; i++) {
        code = check_alias(c, "server.aliases", f->aliases[i].model, fail);
        if (code == OK && (!config_copy_text(&to->alias_names.texts[to->alias_names.n++],
                                             f->aliases[i].name, NULL) ||
                           !config_copy_text(&to->alias_models.texts[to->alias_models.n++],
                                             f->aliases[i].model, NULL)))
            code = config_no_memory(fail);
    }
    if (code != OK || f->unknown_model == NULL)
        return code;
    code = check_alias(c, "server.unknown_model", f->unknown_model, fail);
    return code == OK && !config_copy_text(&to->unknown_model, f->unknown_model, NULL)
               ? config_no_memory(fail)
               : code;
}

static error_code take_engine(config_engine *e, const file_engine *f, const char *file,
                              failure *fail)
{
    if (f == NULL)
        return OK;
    TAKE(e->threads, f->threads);
    TAKE(e->prefill_chunk, f->prefill_chunk);
    TAKE(e->queue_limit, f->queue_limit);
    TAKE(e->step_budget_ms, f->step_budget_ms);
    TAKE(e->memory_limit_mb, f->memory_limit_mb);
    TAKE(e->prefix_cache, f->prefix_cache);
    return config_copy_path(&e->machine, f->machine, file) ? OK : config_no_memory(fail);
}

static error_code take_server_texts(config_server *s, const file_server *f, const char *file,
                                    failure *fail)
{
    if (!take_texts(&s->allowed_hosts, f->allowed_hosts, f->n_allowed_hosts) ||
        !take_texts(&s->allowed_origins, f->allowed_origins, f->n_allowed_origins) ||
        !config_copy_path(&s->socket, f->socket, file) ||
        !config_copy_path(&s->keys_file, f->keys_file, file) ||
        !config_copy_path(&s->budget_file, f->budget_file, file) ||
        !config_copy_path(&s->tls_certificate, f->tls_certificate, file) ||
        !config_copy_path(&s->tls_key, f->tls_key, file))
        return config_no_memory(fail);
    if ((s->tls_certificate == NULL) == (s->tls_key == NULL))
        return OK;
    return failure_set(fail, ERR_CONFIG,
                       "server: tls_certificate and tls_key belong together; one of them "
                       "is missing");
}

static error_code take_server(config *c, const file_server *f, const char *file, failure *fail)
{
    static const file_server nothing = {.host = NULL};
    config_server *s = &c->server;
    f = f != NULL ? f : &nothing;
    TAKE(s->port, f->port);
    TAKE(s->allow_without_key, f->allow_without_key);
    TAKE(s->loops, f->loops);
    TAKE(s->max_connections, f->max_connections);
    TAKE(s->max_connections_per_address, f->max_connections_per_address);
    TAKE(s->max_body_bytes, f->max_body_bytes);
    TAKE(s->max_tokens_default, f->max_tokens_default);
    TAKE(s->seed_default, f->seed_default);
    s->has_seed = f->seed_default != NULL;
    TAKE(s->deadline_ms_default, f->deadline_ms_default);
    error_code code = take_server_texts(s, f, file, fail);
    if (code == OK)
        code = take_aliases(c, f, fail);
    if (code != OK)
        return code;
    if (f->priority_default != NULL && !priority_parse(f->priority_default, &s->priority_default))
        return failure_set(
            fail, ERR_CONFIG,
            "server.priority_default: \"%s\" is unknown; allowed: interactive, batch",
            f->priority_default);
    return config_copy_text(&s->host, f->host, config_defaults.server.host)
               ? OK
               : config_no_memory(fail);
}

static error_code take_decisions(config_decisions *d, const file_decisions *f, const char *file,
                                 failure *fail)
{
    if (f == NULL)
        return OK;
    TAKE(d->max_mb, f->max_mb);
    TAKE(d->keep, f->keep);
    if (f->prompts != NULL && strcmp(f->prompts, "hash") != 0 && strcmp(f->prompts, "text") != 0)
        return failure_set(fail, ERR_CONFIG,
                           "decisions.prompts: \"%s\" is unknown; allowed: hash, text", f->prompts);
    d->prompts =
        f->prompts != NULL && f->prompts[0] == 't' ? CONFIG_PROMPTS_TEXT : CONFIG_PROMPTS_HASH;
    d->file = config_resolve_path(f->file, file);
    return d->file != NULL ? OK : config_no_memory(fail);
}

error_code config_take_serving(config *c, const file_config *f, const char *file, failure *fail)
{
    error_code code = take_engine(&c->engine, f->engine, file, fail);
    if (code == OK)
        code = take_server(c, f->server, file, fail);
    return code == OK ? take_decisions(&c->decisions, f->decisions, file, fail) : code;
}

void config_free_server(config_server *s)
{
    free(s->host);
    free(s->socket);
    free(s->keys_file);
    free(s->budget_file);
    free(s->tls_certificate);
    free(s->tls_key);
    free_texts(&s->allowed_hosts);
    free_texts(&s->allowed_origins);
    free_texts(&s->alias_names);
    free_texts(&s->alias_models);
    free(s->unknown_model);
}
