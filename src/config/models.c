/* models.c: the models of a configuration, and their order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/check.h"
#include "config/remote.h"
#include "config/sections.h"
#include "config/take.h"

/* A template's name, or file:PATH with the path resolved. */
static bool copy_template(char **to, const char *choice, const char *file)
{
    static const char mark[] = "file:";
    if (choice == NULL || strncmp(choice, mark, strlen(mark)) != 0)
        return config_copy_text(to, choice, NULL);
    char *path = config_resolve_path(choice + strlen(mark), file);
    bool copied = path != NULL && asprintf(to, "%s%s", mark, path) >= 0;
    free(path);
    return copied;
}

static error_code take_model(config_model *m, const file_model *f, size_t i, const char *file,
                             failure *fail)
{
    m->slots = CONFIG_DEFAULT_SLOTS;
    TAKE(m->context, f->context);
    TAKE(m->slots, f->slots);
    TAKE(m->parked, f->parked);
    if (f->price != NULL) {
        TAKE(m->price.input, f->price->input);
        TAKE(m->price.output, f->price->output);
    }
    if (!config_copy_path(&m->path, f->path, file) || !config_copy_text(&m->given, f->path, NULL) ||
        !config_copy_text(&m->name, f->name, NULL) ||
        !config_copy_path(&m->remote.key_file, f->key_file, file) ||
        !config_copy_path(&m->remote.ca_file, f->ca_file, file) ||
        !config_copy_text(&m->requant, f->requant, NULL) ||
        !copy_template(&m->chat_template, f->chat_template, file))
        return config_no_memory(fail);
    error_code code = config_remote_take(&m->remote, f, i, fail);
    if (code != OK)
        return code;
    if (f->kv != NULL && !config_kv_parse(f->kv, &m->kv))
        return failure_set(fail, ERR_CONFIG,
                           "models[%zu].kv: \"%s\" is unknown; allowed: f16, f32, q8_0, q4", i,
                           f->kv);
    return OK;
}

static error_code take_list(config *c, const file_config *f, const char *file, failure *fail)
{
    c->models = calloc(f->n_models, sizeof *c->models);
    if (c->models == NULL)
        return config_no_memory(fail);
    for (; c->n_models < f->n_models; c->n_models++) {
        const file_model *from = &f->models[c->n_models];
        config_model *to = &c->models[c->n_models];
        error_code code = take_model(to, from, c->n_models, file, fail);
        if (code != OK) {
            c->n_models++; /* what it holds already is freed with the rest */
            return code;
        }
    }
    return OK;
}

/* ---- the order ------------------------------------------------------------------------------ */

/* Of a pair, the two names say it themselves. */
static const char *role_of(const file_config *f, size_t i)
{
    const file_model *m = &f->models[i];
    bool says = strcmp(m->name, "small") == 0 || strcmp(m->name, "large") == 0;
    return m->role != NULL ? m->role : f->n_models == 2 && says ? m->name : NULL;
}

static error_code check_roles(const file_config *f, failure *fail)
{
    size_t n_small = 0, n_large = 0;
    for (size_t i = 0; i < f->n_models; i++) {
        const char *role = role_of(f, i);
        bool is_small = role != NULL && strcmp(role, "small") == 0;
        bool is_large = role != NULL && strcmp(role, "large") == 0;
        if (role != NULL && !is_small && !is_large)
            return failure_set(fail, ERR_CONFIG,
                               "models[%zu].role: \"%s\" is unknown; allowed: small, large", i,
                               role);
        n_small += is_small;
        n_large += is_large;
    }
    if (n_small + n_large == 0 || f->n_models == 1 ||
        (n_small == 1 && n_large == 1 && f->n_models == 2))
        return OK;
    for (size_t i = 0; f->n_models == 2 && i < 2; i++)
        if (role_of(f, i) == NULL)
            return failure_set(fail, ERR_CONFIG,
                               "models[%zu].role: is missing; \"%.80s\" is small or large", i,
                               f->models[i].name);
    return failure_set(fail, ERR_CONFIG,
                       "models: roles are for a pair, which has one with role small and one with "
                       "role large; there are %zu and %zu (without roles the list's order counts, "
                       "of any number)",
                       n_small, n_large);
}

/* What rules call the first and the last one must not be another's name. */
static error_code check_ends(const config *c, failure *fail)
{
    for (size_t i = 0; c->n_models > 2 && i < c->n_models; i++) {
        const char *name = c->models[i].name;
        if ((i > 0 && strcmp(name, "small") == 0) ||
            (i + 1 < c->n_models && strcmp(name, "large") == 0))
            return failure_set(fail, ERR_CONFIG,
                               "models[%zu].name: \"%s\" is what rules call the %s of all; rename "
                               "the model, or move it",
                               i, name, name[0] == 's' ? "first" : "last");
    }
    return OK;
}

error_code config_take_models(config *c, const file_config *f, const char *file, failure *fail)
{
    error_code code = take_list(c, f, file, fail);
    if (code == OK)
        code = check_roles(f, fail);
    if (code == OK)
        code = config_check_models(c, fail);
    if (code == OK)
        code = check_ends(c, fail);
    const char *first = code == OK ? role_of(f, 0) : NULL;
    if (c->n_models == 2 && first != NULL && strcmp(first, "large") == 0) {
        config_model large = c->models[0];
        c->models[0] = c->models[1];
        c->models[1] = large;
    }
    return code;
}

const char *config_role(const config *c, size_t number)
{
    static const char *const pair[] = {"small", "large"};
    return c->n_models > 2 ? c->models[number].name : pair[number + 2 - c->n_models];
}

bool config_has_prices(const config *c)
{
    bool found = false;
    for (size_t i = 0; i < c->n_models; i++)
        found = found || c->models[i].price.input > 0 || c->models[i].price.output > 0;
    return found;
}

bool config_find_model(const config *c, const char *name, size_t *out)
{
    bool is_small = strcmp(name, "small") == 0, is_large = strcmp(name, "large") == 0;
    for (size_t i = 0; i < c->n_models; i++)
        if (strcmp(c->models[i].name, name) == 0) {
            *out = i;
            return true;
        }
    *out = is_large ? c->n_models - 1 : 0;
    return is_small || is_large;
}

void config_free_models(config *c)
{
    for (uint32_t i = 0; i < c->n_models; i++) {
        free(c->models[i].name);
        free(c->models[i].given);
        free(c->models[i].path);
        free(c->models[i].chat_template);
        config_remote_free(&c->models[i].remote);
        free(c->models[i].requant);
    }
    free(c->models);
}
