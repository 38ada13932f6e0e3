/* remote.c: a model at another server: its address, key and limits of time. */
#include "config/remote.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 5000
#define FIRST_BYTE_MS 300000 /* a prompt may wait and be read for long */
#define IDLE_MS 60000
#define LONGEST_MS 3600000u
#define QUEUE 256
#define WAIT_MS 10000
#define RETRIES 3
#define HEALTH_MS 5000
#define SLOW_START_MS 10000

static error_code bad(failure *fail, size_t i, const char *key, const char *needs)
{
    return failure_set(fail, ERR_CONFIG, "models[%zu].%s: %s", i, key, needs);
}

/* What only one of the two kinds has. */
static error_code check_kind(const file_model *f, size_t i, failure *fail)
{
    const struct {
        const char *key;
        bool is_given, is_remote;
    } keys[] = {
        {"model", f->model != NULL, true},
        {"key_env", f->key_env != NULL, true},
        {"key_file", f->key_file != NULL, true},
        {"ca_file", f->ca_file != NULL, true},
        {"fields", f->fields != NULL, true},
        {"connect_ms", f->connect_ms != NULL, true},
        {"first_byte_ms", f->first_byte_ms != NULL, true},
        {"idle_ms", f->idle_ms != NULL, true},
        {"lookup_replicas", f->n_lookup_replicas > 0, true},
        {"pool", f->pool != NULL, true},
        {"chat_template", f->chat_template != NULL, false},
        {"slots", f->slots != NULL, false},
        {"parked", f->parked != NULL, false},
        {"kv", f->kv != NULL, false},
        {"requant", f->requant != NULL, false},
    };
    bool is_remote = f->url != NULL || f->n_replicas > 0;
    if ((f->path != NULL) + (f->url != NULL) + (f->n_replicas > 0) != 1)
        return bad(fail, i, "path",
                   "each model has either a path (a GGUF file) or a url or replicas");
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        if (keys[k].is_given && keys[k].is_remote != is_remote)
            return bad(fail, i, keys[k].key,
                       is_remote ? "is for models with a path: the server at the url decides"
                                 : "is for models with a url");
    if (f->url != NULL && (f->pool != NULL || f->n_lookup_replicas > 0))
        return bad(fail, i, f->pool != NULL ? "pool" : "lookup_replicas",
                   "is for models with replicas");
    return OK;
}

static bool is_web(const char *url)
{
    return (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) &&
           strpbrk(url, "?#@ ") == NULL;
}

static error_code check_url(const char *url, size_t i, const char *key, failure *fail)
{
    return is_web(url)
               ? OK
               : bad(fail, i, key, "must be http:// or https://, up to /v1, without a key in it");
}

static error_code check_replicas(char *const *urls, size_t n, size_t i, const char *key,
                                 failure *fail)
{
    error_code code = OK;
    for (size_t k = 0; code == OK && k < n; k++) {
        code = check_url(urls[k], i, key, fail);
        for (size_t other = 0; code == OK && other < k; other++)
            if (strcmp(urls[k], urls[other]) == 0)
                code = bad(fail, i, key, "names one server twice");
    }
    return code;
}

static error_code check_values(const file_model *f, size_t i, failure *fail)
{
    error_code code = f->url != NULL ? check_url(f->url, i, "url", fail) : OK;
    if (code == OK)
        code = check_replicas(f->replicas, f->n_replicas, i, "replicas", fail);
    if (code == OK)
        code = check_replicas(f->lookup_replicas, f->n_lookup_replicas, i, "lookup_replicas", fail);
    if (code != OK)
        return code;
    if (f->key_env != NULL && f->key_file != NULL)
        return bad(fail, i, "key_env", "and key_file: one of them has the key");
    json_t *fields = f->fields != NULL ? json_loads(f->fields, 0, NULL) : NULL;
    bool is_object = json_is_object(fields);
    json_decref(fields);
    return f->fields == NULL || is_object ? OK : bad(fail, i, "fields", "must be a JSON object");
}

static error_code take_ms(uint32_t *to, const uint32_t *from, uint32_t otherwise, size_t i,
                          const char *key, failure *fail)
{
    *to = from != NULL ? *from : otherwise;
    return *to >= 1 && *to <= LONGEST_MS ? OK : bad(fail, i, key, "must be from 1 to 3600000");
}

static bool copy(char **to, const char *text)
{
    *to = text != NULL ? strdup(text) : NULL;
    return text == NULL || *to != NULL;
}

static bool copy_url(char **to, const char *url)
{
    if (!copy(to, url))
        return false;
    for (size_t n = url != NULL ? strlen(url) : 0; n > 0 && (*to)[n - 1] == '/'; n--)
        (*to)[n - 1] = '\0';
    return true;
}

static bool copy_urls(config_texts *to, char *const *urls, uint32_t n)
{
    to->texts = n > 0 ? calloc(n, sizeof *to->texts) : NULL;
    if (n > 0 && to->texts == NULL)
        return false;
    for (; to->n < n; to->n++)
        if (!copy_url(&to->texts[to->n], urls[to->n]))
            return false;
    return true;
}

static uint32_t or_else(const uint32_t *given, uint32_t otherwise)
{
    return given != NULL ? *given : otherwise;
}

static error_code take_pool(config_remote *out, const file_pool *f, size_t i, failure *fail)
{
    static const file_pool none = {.limit = NULL};
    f = f != NULL ? f : &none;
    out->pool = (config_pool){.limit = or_else(f->limit, 0),
                              .queue = or_else(f->queue, QUEUE),
                              .wait_ms = or_else(f->wait_ms, WAIT_MS),
                              .retries = or_else(f->retries, RETRIES),
                              .health_ms = or_else(f->health_ms, HEALTH_MS),
                              .slow_start_ms = or_else(f->slow_start_ms, SLOW_START_MS),
                              .hedge_tokens = or_else(f->hedge_tokens, 0)};
    const config_pool *p = &out->pool;
    if (p->wait_ms > LONGEST_MS || p->health_ms > LONGEST_MS || p->slow_start_ms > LONGEST_MS)
        return bad(fail, i, "pool", "wait_ms, health_ms and slow_start_ms are at most 3600000");
    if (p->retries > 100)
        return bad(fail, i, "pool.retries", "must be from 0 to 100");
    if (f->health_path != NULL && f->health_path[0] != '/')
        return bad(fail, i, "pool.health_path", "must begin with /");
    return copy(&out->health_path, f->health_path)
               ? OK
               : failure_set(fail, ERR_MEMORY, "no memory left");
}

error_code config_remote_take(config_remote *out, const file_model *f, size_t i, failure *fail)
{
    error_code code = check_kind(f, i, fail);
    if (code != OK || f->path != NULL)
        return code;
    code = check_values(f, i, fail);
    if (code == OK)
        code = take_ms(&out->connect_ms, f->connect_ms, CONNECT_MS, i, "connect_ms", fail);
    if (code == OK)
        code =
            take_ms(&out->first_byte_ms, f->first_byte_ms, FIRST_BYTE_MS, i, "first_byte_ms", fail);
    if (code == OK)
        code = take_ms(&out->idle_ms, f->idle_ms, IDLE_MS, i, "idle_ms", fail);
    if (code != OK)
        return code;
    if (!copy_url(&out->url, f->url != NULL ? f->url : f->replicas[0]) ||
        !copy_urls(&out->replicas, f->replicas, f->n_replicas) ||
        !copy_urls(&out->lookup_replicas, f->lookup_replicas, f->n_lookup_replicas) ||
        !copy(&out->model, f->model != NULL ? f->model : f->name) ||
        !copy(&out->key_env, f->key_env) || !copy(&out->fields, f->fields))
        return failure_set(fail, ERR_MEMORY, "no memory left");
    return take_pool(out, f->pool, i, fail);
}

static void free_urls(config_texts *urls)
{
    while (urls->n > 0)
        free(urls->texts[--urls->n]);
    free(urls->texts);
}

void config_remote_free(config_remote *r)
{
    free(r->url);
    free(r->model);
    free(r->key_env);
    free(r->key_file);
    free(r->ca_file);
    free(r->fields);
    free(r->health_path);
    free_urls(&r->replicas);
    free_urls(&r->lookup_replicas);
}
