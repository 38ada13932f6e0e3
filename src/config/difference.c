/* difference.c: two configurations, section by section. */
#include "config/difference.h"

#include <string.h>

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_texts(const config_texts *a, const config_texts *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++)
        same = same_text(a->texts[i], b->texts[i]);
    return same;
}

static bool same_remote(const config_remote *a, const config_remote *b)
{
    bool is_pool = a->replicas.n > 0 && b->replicas.n > 0; /* what is in it is read again */
    return (is_pool || (same_text(a->url, b->url) && a->replicas.n == b->replicas.n)) &&
           (a->lookup_replicas.n > 0) == (b->lookup_replicas.n > 0) &&
           same_text(a->model, b->model) && same_text(a->key_env, b->key_env) &&
           same_text(a->key_file, b->key_file) && same_text(a->ca_file, b->ca_file) &&
           same_text(a->fields, b->fields) && same_text(a->health_path, b->health_path) &&
           a->connect_ms == b->connect_ms && a->first_byte_ms == b->first_byte_ms &&
           a->idle_ms == b->idle_ms;
}

static bool same_model(const config_model *a, const config_model *b)
{
    return same_text(a->name, b->name) && same_text(a->given, b->given) &&
           same_text(a->chat_template, b->chat_template) && a->context == b->context &&
           a->slots == b->slots && a->parked == b->parked && a->kv == b->kv &&
           same_text(a->requant, b->requant) && same_remote(&a->remote, &b->remote);
}

static bool same_models(const config *a, const config *b)
{
    bool same = a->n_models == b->n_models;
    for (uint32_t i = 0; same && i < a->n_models; i++)
        same = same_model(&a->models[i], &b->models[i]);
    return same;
}

static bool same_engine(const config *first, const config *second)
{
    const config_engine *a = &first->engine, *b = &second->engine;
    return a->threads == b->threads && a->prefill_chunk == b->prefill_chunk &&
           a->queue_limit == b->queue_limit && a->step_budget_ms == b->step_budget_ms &&
           a->memory_limit_mb == b->memory_limit_mb && a->prefix_cache == b->prefix_cache &&
           same_text(a->machine, b->machine);
}

static bool same_server(const config *first, const config *second)
{
    const config_server *a = &first->server, *b = &second->server;
    return same_text(a->host, b->host) && a->port == b->port && same_text(a->socket, b->socket) &&
           same_text(a->keys_file, b->keys_file) && same_text(a->budget_file, b->budget_file) &&
           a->allow_without_key == b->allow_without_key &&
           same_text(a->tls_certificate, b->tls_certificate) && same_text(a->tls_key, b->tls_key) &&
           a->loops == b->loops && a->max_connections == b->max_connections &&
           a->max_connections_per_address == b->max_connections_per_address &&
           same_texts(&a->allowed_hosts, &b->allowed_hosts) &&
           same_texts(&a->allowed_origins, &b->allowed_origins) &&
           same_texts(&a->alias_names, &b->alias_names) &&
           same_texts(&a->alias_models, &b->alias_models) &&
           same_text(a->unknown_model, b->unknown_model) &&
           a->max_body_bytes == b->max_body_bytes &&
           a->max_tokens_default == b->max_tokens_default && a->has_seed == b->has_seed &&
           a->seed_default == b->seed_default && a->priority_default == b->priority_default &&
           a->deadline_ms_default == b->deadline_ms_default;
}

static bool same_decisions(const config *first, const config *second)
{
    const config_decisions *a = &first->decisions, *b = &second->decisions;
    return same_text(a->file, b->file) && a->prompts == b->prompts && a->max_mb == b->max_mb &&
           a->keep == b->keep;
}

void config_changed_sections(const config *a, const config *b, char out[CONFIG_SECTIONS_SIZE])
{
    static const struct {
        const char *name;
        bool (*is_same)(const config *a, const config *b);
    } sections[] = {{"models", same_models},
                    {"engine", same_engine},
                    {"server", same_server},
                    {"decisions", same_decisions}};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        if (sections[i].is_same(a, b))
            continue;
        if (out[0] != '\0')
            strcat(out, ", ");
        strcat(out, sections[i].name);
    }
}
