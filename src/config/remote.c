/* remote.c: a model at another server: its address, key and limits of time. */
#include "config/remote.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 5000
#define FIRST_BYTE_MS 300000 /* a prompt may wait and be read for long */
#define IDLE_MS 60000
#define LONGEST_MS 3600000u

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
        {"fields", f->fields != NULL, true},
        {"connect_ms", f->connect_ms != NULL, true},
        {"first_byte_ms", f->first_byte_ms != NULL, true},
        {"idle_ms", f->idle_ms != NULL, true},
        {"chat_template", f->chat_template != NULL, false},
        {"slots", f->slots != NULL, false},
        {"parked", f->parked != NULL, false},
        {"kv", f->kv != NULL, false},
        {"requant", f->requant != NULL, false},
    };
    if ((f->path != NULL) == (f->url != NULL))
        return bad(fail, i, "path", "each model has either a path (a GGUF file) or a url");
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        if (keys[k].is_given && keys[k].is_remote != (f->url != NULL))
            return bad(fail, i, keys[k].key,
                       f->url != NULL ? "is for models with a path: the server at the url decides"
                                      : "is for models with a url");
    return OK;
}

static error_code check_values(const file_model *f, size_t i, failure *fail)
{
    bool is_web = strncmp(f->url, "http://", 7) == 0 || strncmp(f->url, "https://", 8) == 0;
    if (!is_web || strpbrk(f->url, "?#@ ") != NULL)
        return bad(fail, i, "url", "must be http:// or https://, up to /v1, without a key in it");
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

error_code config_remote_take(config_remote *out, const file_model *f, size_t i, failure *fail)
{
    error_code code = check_kind(f, i, fail);
    if (code != OK || f->url == NULL)
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
    if (!copy(&out->url, f->url) || !copy(&out->model, f->model != NULL ? f->model : f->name) ||
        !copy(&out->key_env, f->key_env) || !copy(&out->fields, f->fields))
        return failure_set(fail, ERR_MEMORY, "no memory left");
    for (size_t n = strlen(out->url); n > 0 && out->url[n - 1] == '/'; n--)
        out->url[n - 1] = '\0';
    return OK;
}

void config_remote_free(config_remote *r)
{
    free(r->url);
    free(r->model);
    free(r->key_env);
    free(r->key_file);
    free(r->fields);
}
