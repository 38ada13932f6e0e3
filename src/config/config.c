/* config.c: from the file's shape to the struct: defaults, paths, copies. */
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/path.h"
#include "config/check.h"
#include "config/remote.h"
#include "config/rules.h"
#include "config/schema.h"

#define MAX_FILE_BYTES (1u << 20)
#define DEFAULT_FILE "config/demo.yaml"

static const config_label default_labels[] = {
    {"code", " code"},
    {"qa", " qa"},
    {"math", " math"},
};
#define N_DEFAULT_LABELS (sizeof default_labels / sizeof default_labels[0])

static const config defaults = {
    .version = CONFIG_VERSION,
    .probe = {.template = "{conversation}Intent:",
              .window_head = 208,
              .window_tail = 48,
              .timeout_ms = 10000,
              .cache = 0,
              .reuse = true},
    .policy = {.name = "adaptive",
               .entropy_limit = 0.45,
               .certain_limit = NAN,
               .likely_limit = NAN,
               .prompt_limit = 2048,
               .seed = 0,
               .sticky = true},
    .engine = {.threads = 0,
               .prefill_chunk = 256,
               .queue_limit = 64,
               .step_budget_ms = 100,
               .memory_limit_mb = 0,
               .prefix_cache = true},
    .server = {.host = "127.0.0.1",
               .port = 8098,
               .max_connections = 256,
               .max_body_bytes = 4u << 20,
               .max_tokens_default = 0,
               .priority_default = CONFIG_INTERACTIVE,
               .deadline_ms_default = 0},
    .decisions = {.file = NULL, .prompts = CONFIG_PROMPTS_HASH, .max_mb = 64, .keep = 2},
};
#define DEFAULT_SLOTS 4

/* ---- from the file's shape to the configuration --------------------------------------------- */

/* A value the file names replaces the default that stands in `to`. */
#define TAKE(to, from)                                                                             \
    do {                                                                                           \
        if ((from) != NULL)                                                                        \
            (to) = *(from);                                                                        \
    } while (0)

/* Sets *to to a copy of `from`, or of `fallback` when the file has none; false: no memory. */
static bool copy_text(char **to, const char *from, const char *fallback)
{
    const char *text = from != NULL ? from : fallback;
    *to = text != NULL ? strdup(text) : NULL;
    return text == NULL || *to != NULL;
}

static error_code no_memory(failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for the configuration");
}

bool config_kv_parse(const char *text, config_kv *out)
{
    static const struct {
        const char *name;
        config_kv kv;
    } types[] = {{"f16", CONFIG_KV_F16}, {"f32", CONFIG_KV_F32}, {"q8_0", CONFIG_KV_Q8_0}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = types[i].kv;
            return true;
        }
    return false;
}

/* Relative paths are relative to the directory of the file that names them, "~" to the home. */
static char *resolve_path(const char *path, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *expanded = path_expand_home(path), *whole = NULL;
    if (expanded == NULL || expanded[0] == '/' || expanded[0] == '\0' || slash == NULL)
        return expanded;
    if (asprintf(&whole, "%.*s/%s", (int)(slash - file), file, expanded) < 0)
        whole = NULL;
    free(expanded);
    return whole;
}

/* A template's name, or file:PATH with the path resolved. */
static bool copy_template(char **to, const char *choice, const char *file)
{
    static const char mark[] = "file:";
    if (choice == NULL || strncmp(choice, mark, strlen(mark)) != 0)
        return copy_text(to, choice, NULL);
    char *path = resolve_path(choice + strlen(mark), file);
    bool copied = path != NULL && asprintf(to, "%s%s", mark, path) >= 0;
    free(path);
    return copied;
}

/* Sets *to to the resolved path, or to NULL when the file names none; false: no memory. */
static bool copy_path(char **to, const char *path, const char *file)
{
    *to = path != NULL ? resolve_path(path, file) : NULL;
    return path == NULL || *to != NULL;
}

static error_code take_role(config_model *m, const file_model *f, size_t i, failure *fail)
{
    const char *role = f->role != NULL ? f->role : f->name; /* the two names say it themselves */
    if (strcmp(role, "small") != 0 && strcmp(role, "large") != 0)
        return f->role != NULL
                   ? failure_set(fail, ERR_CONFIG,
                                 "models[%zu].role: \"%s\" is unknown; allowed: small, large", i,
                                 f->role)
                   : failure_set(fail, ERR_CONFIG,
                                 "models[%zu].role: is missing; \"%.80s\" is small or large", i,
                                 f->name);
    m->role = role[0] == 's' ? ROLE_SMALL : ROLE_LARGE;
    return OK;
}

static error_code take_model(config_model *m, const file_model *f, size_t i, const char *file,
                             failure *fail)
{
    m->slots = DEFAULT_SLOTS;
    TAKE(m->context, f->context);
    TAKE(m->slots, f->slots);
    TAKE(m->parked, f->parked);
    if (!copy_path(&m->path, f->path, file) || !copy_text(&m->given, f->path, NULL) ||
        !copy_text(&m->name, f->name, NULL) ||
        !copy_path(&m->remote.key_file, f->key_file, file) ||
        !copy_text(&m->requant, f->requant, NULL) ||
        !copy_template(&m->chat_template, f->chat_template, file))
        return no_memory(fail);
    error_code code = config_remote_take(&m->remote, f, i, fail);
    if (code != OK)
        return code;
    if (f->kv != NULL && !config_kv_parse(f->kv, &m->kv))
        return failure_set(fail, ERR_CONFIG,
                           "models[%zu].kv: \"%s\" is unknown; allowed: f16, f32, q8_0", i, f->kv);
    return take_role(m, f, i, fail);
}

static error_code take_models(config *c, const file_config *f, const char *file, failure *fail)
{
    c->models = calloc(f->n_models, sizeof *c->models);
    if (c->models == NULL)
        return no_memory(fail);
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

/* What only the label tokens have must not stand there in vain. */
static error_code take_probe_kind(config_probe *p, const file_probe *f, failure *fail)
{
    if (f->kind == NULL || strcmp(f->kind, "tokens") == 0)
        return OK;
    if (strcmp(f->kind, "learned") != 0)
        return failure_set(fail, ERR_CONFIG,
                           "probe.kind: \"%s\" is unknown; allowed: tokens, learned", f->kind);
    p->kind = CONFIG_PROBE_LEARNED;
    const char *key = f->template != NULL      ? "template"
                      : f->window_head != NULL ? "window_head"
                      : f->window_tail != NULL ? "window_tail"
                                               : NULL;
    for (uint32_t i = 0; i < f->n_labels; i++)
        if (f->labels[i].token != NULL)
            key = "labels.token";
    if (key != NULL)
        return failure_set(fail, ERR_CONFIG,
                           "probe.%s: the learned probe does not read it; remove it", key);
    return OK;
}

static error_code take_probe(config_probe *p, const file_probe *f, const char *file, failure *fail)
{
    static const file_probe nothing = {.template = NULL};
    f = f != NULL ? f : &nothing;
    error_code code = take_probe_kind(p, f, fail);
    if (code != OK)
        return code;
    TAKE(p->window_head, f->window_head);
    TAKE(p->window_tail, f->window_tail);
    TAKE(p->timeout_ms, f->timeout_ms);
    if (!copy_path(&p->calibration, f->calibration, file))
        return no_memory(fail);
    p->is_online = f->online != NULL;
    if (p->is_online)
        TAKE(p->online_step, f->online->step);
    TAKE(p->cache, f->cache);
    TAKE(p->reuse, f->reuse);
    if (!copy_text(&p->template, f->template, defaults.probe.template))
        return no_memory(fail);
    uint32_t n = f->n_labels > 0 ? f->n_labels : (uint32_t)N_DEFAULT_LABELS;
    p->labels = calloc(n, sizeof *p->labels);
    if (p->labels == NULL)
        return no_memory(fail);
    p->n_labels = n;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = f->n_labels > 0 ? f->labels[i].name : default_labels[i].name;
        const char *token = f->n_labels > 0 ? f->labels[i].token : default_labels[i].token;
        if (!copy_text(&p->labels[i].name, name, NULL) ||
            !copy_text(&p->labels[i].token, token, name))
            return no_memory(fail);
    }
    return OK;
}

static error_code take_success(config_success *s, const file_success *f, const char *file,
                               failure *fail)
{
    if (f == NULL)
        return OK;
    if (!copy_path(&s->calibration, f->calibration, file))
        return no_memory(fail);
    s->is_online = f->online != NULL;
    if (s->is_online)
        TAKE(s->online_step, f->online->step);
    return OK;
}

/* Models and labels are there already. */
static error_code take_policy(config *c, const file_policy *f, failure *fail)
{
    config_policy *p = &c->policy;
    static const file_policy nothing = {.name = NULL};
    f = f != NULL ? f : &nothing;
    TAKE(p->entropy_limit, f->entropy_limit);
    p->is_limit_given = f->entropy_limit != NULL;
    TAKE(p->prompt_limit, f->prompt_limit);
    TAKE(p->seed, f->seed);
    if (f->sticky != NULL && !config_flag_parse(f->sticky, &p->sticky))
        return failure_set(fail, ERR_CONFIG,
                           "policy.sticky: \"%s\" is unknown; allowed: true, false", f->sticky);
    if (!copy_text(&p->name, f->name, defaults.policy.name))
        return no_memory(fail);
    if (f->n_rules == 0)
        return OK;
    p->rules = calloc(f->n_rules, sizeof *p->rules);
    if (p->rules == NULL)
        return no_memory(fail);
    p->n_rules = f->n_rules;
    for (uint32_t i = 0; i < p->n_rules; i++) {
        error_code code = config_rule_take(&p->rules[i], &f->rules[i], c, i, fail);
        if (code != OK)
            return code;
    }
    return OK;
}

static bool take_texts(config_texts *to, char *const *texts, uint32_t n)
{
    to->texts = n > 0 ? calloc(n, sizeof *to->texts) : NULL;
    for (; to->n < n && to->texts != NULL; to->n++)
        if (!copy_text(&to->texts[to->n], texts[to->n], NULL))
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
    if (strcmp(model, "auto") == 0)
        return OK;
    for (uint32_t i = 0; i < c->n_models; i++)
        if (strcmp(c->models[i].name, model) == 0)
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
        return no_memory(fail);
    for (uint32_t i = 0; code == OK && i < n; i++) {
        code = check_alias(c, "server.aliases", f->aliases[i].model, fail);
        if (code == OK &&
            (!copy_text(&to->alias_names.texts[to->alias_names.n++], f->aliases[i].name, NULL) ||
             !copy_text(&to->alias_models.texts[to->alias_models.n++], f->aliases[i].model, NULL)))
            code = no_memory(fail);
    }
    if (code != OK || f->unknown_model == NULL)
        return code;
    code = check_alias(c, "server.unknown_model", f->unknown_model, fail);
    return code == OK && !copy_text(&to->unknown_model, f->unknown_model, NULL) ? no_memory(fail)
                                                                                : code;
}

static error_code take_engine_and_server(config *c, const file_config *f, const char *file,
                                         failure *fail)
{
    if (f->engine != NULL) {
        TAKE(c->engine.threads, f->engine->threads);
        TAKE(c->engine.prefill_chunk, f->engine->prefill_chunk);
        TAKE(c->engine.queue_limit, f->engine->queue_limit);
        TAKE(c->engine.step_budget_ms, f->engine->step_budget_ms);
        TAKE(c->engine.memory_limit_mb, f->engine->memory_limit_mb);
        TAKE(c->engine.prefix_cache, f->engine->prefix_cache);
        if (!copy_path(&c->engine.machine, f->engine->machine, file))
            return no_memory(fail);
    }
    if (f->server != NULL) {
        TAKE(c->server.port, f->server->port);
        TAKE(c->server.allow_without_key, f->server->allow_without_key);
        TAKE(c->server.max_connections, f->server->max_connections);
        TAKE(c->server.max_connections_per_address, f->server->max_connections_per_address);
        TAKE(c->server.max_body_bytes, f->server->max_body_bytes);
        TAKE(c->server.max_tokens_default, f->server->max_tokens_default);
        TAKE(c->server.seed_default, f->server->seed_default);
        c->server.has_seed = f->server->seed_default != NULL;
        TAKE(c->server.deadline_ms_default, f->server->deadline_ms_default);
        if (!take_texts(&c->server.allowed_hosts, f->server->allowed_hosts,
                        f->server->n_allowed_hosts) ||
            !take_texts(&c->server.allowed_origins, f->server->allowed_origins,
                        f->server->n_allowed_origins) ||
            !copy_path(&c->server.socket, f->server->socket, file) ||
            !copy_path(&c->server.keys_file, f->server->keys_file, file) ||
            !copy_path(&c->server.tls_certificate, f->server->tls_certificate, file) ||
            !copy_path(&c->server.tls_key, f->server->tls_key, file))
            return no_memory(fail);
        if ((c->server.tls_certificate == NULL) != (c->server.tls_key == NULL))
            return failure_set(fail, ERR_CONFIG,
                               "server: tls_certificate and tls_key belong together; one of them "
                               "is missing");
        error_code code = take_aliases(c, f->server, fail);
        if (code != OK)
            return code;
    }
    const char *host = f->server != NULL ? f->server->host : NULL;
    const char *priority = f->server != NULL ? f->server->priority_default : NULL;
    if (priority != NULL && !config_priority_parse(priority, &c->server.priority_default))
        return failure_set(
            fail, ERR_CONFIG,
            "server.priority_default: \"%s\" is unknown; allowed: interactive, batch", priority);
    return copy_text(&c->server.host, host, defaults.server.host) ? OK : no_memory(fail);
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
    d->file = resolve_path(f->file, file);
    return d->file != NULL ? OK : no_memory(fail);
}

/* The defaults without their texts: those are copied one by one, so that config_free owns them all.
 */
static config *new_config(void)
{
    config *c = malloc(sizeof *c);
    if (c == NULL)
        return NULL;
    *c = defaults;
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
    error_code code = take_models(c, f, file, fail);
    if (code == OK)
        code = check_routed(c, f, fail);
    if (code == OK)
        code = take_probe(&c->probe, f->probe, file, fail);
    if (code == OK)
        code = take_success(&c->success, f->success, file, fail);
    if (code == OK)
        code = take_policy(c, f->policy, fail);
    if (code == OK)
        code = take_engine_and_server(c, f, file, fail);
    if (code == OK)
        code = take_decisions(&c->decisions, f->decisions, file, fail);
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
    code = c != NULL ? take_all(c, f, file, fail) : no_memory(fail);
    file_config_free(f);
    if (code != OK) {
        config_free(c);
        return tell_place(text, length, file, fail);
    }
    *out = c;
    return OK;
}

/* ---- files -------------------------------------------------------------------------------- */

static error_code load_file(config **out, const char *path, failure *fail)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    buffer text;
    buffer_init(&text, MAX_FILE_BYTES);
    error_code code = buffer_read_fd(&text, fd, fail);
    close(fd);
    if (code == OK)
        code = config_parse(out, text.data != NULL ? text.data : "", text.length, path, fail);
    else
        failure_prefix(fail, "%s", path);
    buffer_free(&text);
    return code;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* Sets `path` to the first place that has the default file; false: none has. */
static bool find_default(char path[PATH_MAX])
{
    static const char *const places[] = {"/", "/../", "/../../", "/../share/a-io/"};
    snprintf(path, PATH_MAX, "%s", DEFAULT_FILE);
    if (exists(path))
        return true;
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0)
        return false;
    program[length] = '\0';
    *strrchr(program, '/') = '\0'; /* the link's target is absolute */
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(path, PATH_MAX, "%s%s%s", program, places[i], DEFAULT_FILE);
        if (n > 0 && n < PATH_MAX && exists(path))
            return true;
    }
    return false;
}

error_code config_load(config **out, const char *path, failure *fail)
{
    char found[PATH_MAX];
    *out = NULL;
    if (path != NULL)
        return load_file(out, path, fail);
    if (!find_default(found))
        return failure_set(fail, ERR_NOT_FOUND,
                           "no configuration: " DEFAULT_FILE " is neither under the working "
                           "directory nor beside the program; give one with --config");
    return load_file(out, found, fail);
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
        return no_memory(fail);
    static const file_config nothing = {.version = CONFIG_VERSION};
    error_code code = take_probe(&c->probe, NULL, model_path, fail);
    if (code == OK)
        code = take_policy(c, NULL, fail);
    if (code == OK)
        code = take_engine_and_server(c, &nothing, model_path, fail);
    c->models = calloc(1, sizeof *c->models);
    if (code == OK && c->models != NULL) {
        c->n_models = 1;
        c->models[0] = (config_model){.name = name_of_file(model_path),
                                      .role = ROLE_LARGE,
                                      .given = strdup(model_path),
                                      .path = path_expand_home(model_path),
                                      .slots = DEFAULT_SLOTS};
    }
    if (code == OK && (c->models == NULL || c->models[0].name == NULL ||
                       c->models[0].given == NULL || c->models[0].path == NULL))
        code = no_memory(fail);
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
        return no_memory(fail);
    free(c->policy.name);
    c->policy.name = copy;
    return config_check_policy(c, fail);
}

bool config_priority_parse(const char *text, config_priority *out)
{
    bool batch = strcmp(text, "batch") == 0;
    *out = batch ? CONFIG_BATCH : CONFIG_INTERACTIVE;
    return batch || strcmp(text, "interactive") == 0;
}

bool config_lookup_parse(const char *text, config_lookup *out)
{
    *out = (config_lookup){.mode = CONFIG_LOOKUP_OFF};
    if (strcmp(text, "off") == 0)
        return true;
    if (strcmp(text, "auto") == 0) {
        out->mode = CONFIG_LOOKUP_AUTO;
        return true;
    }
    if (strcmp(text, "draft") == 0) {
        out->mode = CONFIG_LOOKUP_DRAFT;
        return true;
    }
    if (text[0] < '1' || text[0] > '9' || strlen(text) > 2 ||
        (text[1] != '\0' && (text[1] < '0' || text[1] > '9')))
        return false;
    out->mode = CONFIG_LOOKUP_FIXED;
    out->length = (uint32_t)atoi(text);
    return out->length <= CONFIG_MAX_DRAFT;
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
    for (uint32_t i = 0; i < c->n_models; i++) {
        free(c->models[i].name);
        free(c->models[i].given);
        free(c->models[i].path);
        free(c->models[i].chat_template);
        config_remote_free(&c->models[i].remote);
        free(c->models[i].requant);
    }
    for (uint32_t i = 0; i < c->probe.n_labels; i++) {
        free(c->probe.labels[i].name);
        free(c->probe.labels[i].token);
    }
    for (uint32_t i = 0; i < c->policy.n_rules; i++)
        config_rule_free(&c->policy.rules[i]);
    free(c->models);
    free(c->probe.template);
    free(c->probe.calibration);
    free(c->success.calibration);
    free(c->engine.machine);
    free(c->probe.labels);
    free(c->policy.name);
    free(c->policy.rules);
    free(c->server.host);
    free(c->server.socket);
    free(c->server.keys_file);
    free(c->server.tls_certificate);
    free(c->server.tls_key);
    free_texts(&c->server.allowed_hosts);
    free_texts(&c->server.allowed_origins);
    free_texts(&c->server.alias_names);
    free_texts(&c->server.alias_models);
    free(c->server.unknown_model);
    free(c->decisions.file);
    free(c);
}
