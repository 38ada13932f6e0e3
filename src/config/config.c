/* config.c: a configuration from a text or a model's file: all its parts, and the end. */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "config/check.h"
#include "config/rules.h"
#include "config/sections.h"
#include "config/take.h"

/* The defaults without their texts: those are copied one by one, so that config_free owns them all.
 */
static config *new_config(void)
{
    config *c = malloc(sizeof *c);
    if (c == NULL)
        return NULL;
    *c = config_defaults;
    c->probe.template = c->policy.name = c->server.host = NULL;
    return c;
}

/* What routes must not stand there in vain. */
static error_code check_routed(const config *c, const file_config *f, failure *fail)
{
    const char *key = f->probe != NULL     ? "probe"
                      : f->success != NULL ? "success"
                      : f->policy != NULL  ? "policy"
                                           : NULL;
    if (c->n_models > 1 || key == NULL)
        return OK;
    return failure_set(fail, ERR_CONFIG, "%s: with one model nothing is routed; remove it", key);
}

static error_code take_all(config *c, const file_config *f, const char *file, failure *fail)
{
    c->version = f->version;
    error_code code = config_take_models(c, f, file, fail);
    if (code == OK)
        code = check_routed(c, f, fail);
    if (code == OK)
        code = config_take_probe(c, f->probe, file, fail);
    if (code == OK)
        code = config_take_success(&c->success, f->success, file, fail);
    if (code == OK)
        code = config_take_policy(c, f->policy, fail);
    if (code == OK)
        code = config_take_serving(c, f, file, fail);
    if (code == OK)
        code = config_check(c, fail);
    return code == OK ? config_check_policy_keys(f->policy, c->policy.name, fail) : code;
}

/* The messages begin with the path of what they are about. */
static error_code tell_place(const char *text, size_t length, const char *file, failure *fail)
{
    int line = fail != NULL ? file_config_line(text, length, fail->text) : 0;
    return line > 0 ? failure_prefix(fail, "%s:%d", file, line) : failure_prefix(fail, "%s", file);
}

error_code config_parse(config **out, const char *text, size_t length, const char *file,
                        failure *fail)
{
    file_config *f = NULL;
    *out = NULL;
    error_code code = file_config_read(&f, text, length, file, fail);
    if (code != OK)
        return code;
    config *c = new_config();
    code = c != NULL ? take_all(c, f, file, fail) : config_no_memory(fail);
    file_config_free(f);
    if (code != OK) {
        config_free(c);
        return tell_place(text, length, file, fail);
    }
    *out = c;
    return OK;
}

/* ---- without a file ------------------------------------------------------------------------- */

static char *name_of_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash != NULL ? slash + 1 : path);
    if (name == NULL)
        return NULL;
    char *dot = strrchr(name, '.');
    if (dot != NULL && dot != name && strcmp(dot, ".gguf") == 0)
        *dot = '\0';
    return name;
}

error_code config_for_model(config **out, const char *model_path, failure *fail)
{
    *out = NULL;
    config *c = new_config();
    if (c == NULL)
        return config_no_memory(fail);
    static const file_config nothing = {.version = CONFIG_VERSION};
    error_code code = config_take_probe(c, NULL, model_path, fail);
    if (code == OK)
        code = config_take_policy(c, NULL, fail);
    if (code == OK)
        code = config_take_serving(c, &nothing, model_path, fail);
    c->models = calloc(1, sizeof *c->models);
    if (code == OK && c->models != NULL) {
        c->n_models = 1;
        c->models[0] = (config_model){.name = name_of_file(model_path),
                                      .given = strdup(model_path),
                                      .path = path_expand_home(model_path),
                                      .slots = CONFIG_DEFAULT_SLOTS};
    }
    if (code == OK && (c->models == NULL || c->models[0].name == NULL ||
                       c->models[0].given == NULL || c->models[0].path == NULL))
        code = config_no_memory(fail);
    if (code != OK)
        config_free(c);
    else
        *out = c;
    return code;
}

error_code config_set_policy(config *c, const char *name, failure *fail)
{
    char *copy = strdup(name);
    if (copy == NULL)
        return config_no_memory(fail);
    free(c->policy.name);
    c->policy.name = copy;
    return config_check_policy(c, fail);
}

error_code config_fix_step_cost(config *c, const char *path, failure *fail)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory left");
    free(c->engine.machine);
    c->engine.machine = copy;
    c->engine.fixed_step_cost = true;
    return OK;
}

void config_free(config *c)
{
    if (c == NULL)
        return;
    config_free_models(c);
    for (uint32_t i = 0; i < c->probe.n_labels; i++) {
        free(c->probe.labels[i].name);
        free(c->probe.labels[i].token);
    }
    for (uint32_t i = 0; i < c->policy.n_rules; i++)
        config_rule_free(&c->policy.rules[i]);
    free(c->probe.template);
    free(c->probe.calibration);
    free(c->success.calibration);
    free(c->engine.machine);
    free(c->probe.labels);
    free(c->policy.name);
    free(c->policy.rules);
    config_free_server(&c->server);
    free(c->decisions.file);
    free(c);
}
