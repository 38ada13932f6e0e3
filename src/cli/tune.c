/* tune.c: `a-io tune`: a policy's rules from the results of a replay. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/whole_file.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"
#include "cli/replay.h"
#include "evidence/tune.h"

typedef struct tune_command {
    const char *config, *output;
    float tolerance;
    uint64_t least;
    bool help;
} tune_command;

static error_code read_tune_options(tune_command *o, int argc, char **argv, failure *fail)
{
    *o = (tune_command){.tolerance = 0.5f, .least = 30};
    const option_row rows[] = {{"config", .text = &o->config},
                               {"tolerance", .real = &o->tolerance},
                               {"least", .number = &o->least, .low = 1, .high = 1000000},
                               {"output", .text = &o->output},
                               HELP_OPTION(o)};
    error_code code = options_read(rows, argc, argv, fail);
    if (code == OK && o->tolerance < 0)
        return failure_set(fail, ERR_INVALID, "--tolerance: 0 or more");
    if (code == OK && !o->help && argc - optind != 1)
        return failure_set(fail, ERR_INVALID,
                           "one file of results is needed; try: a-io tune --help");
    return code;
}

/* ---- the rest of a configuration ---------------------------------------------------------- */

/* Double quotes: the only style in which every text can be written. */
static void add_quoted(buffer *out, const char *text)
{
    buffer_add_text(out, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            buffer_add_text(out, "\\n");
        else if (*text == '"' || *text == '\\')
            buffer_add_format(out, "\\%c", *text);
        else
            buffer_add(out, text, 1);
    }
    buffer_add_text(out, "\"");
}

static void add_text_key(buffer *out, const char *key, const char *text)
{
    if (text == NULL)
        return;
    buffer_add_format(out, "\n    %s: ", key);
    add_quoted(out, text);
}

static void add_urls(buffer *out, const char *key, const config_texts *urls)
{
    for (size_t i = 0; i < urls->n; i++) {
        if (i == 0)
            buffer_add_format(out, "\n    %s:", key);
        buffer_add_text(out, "\n      - ");
        add_quoted(out, urls->texts[i]);
    }
}

static void add_pool(buffer *out, const config_remote *r)
{
    const config_pool *p = &r->pool;
    buffer_add_format(out,
                      "    pool: {limit: %u, queue: %u, wait_ms: %u, retries: %u, health_ms: %u, "
                      "slow_start_ms: %u, hedge_tokens: %u",
                      p->limit, p->queue, p->wait_ms, p->retries, p->health_ms, p->slow_start_ms,
                      p->hedge_tokens);
    if (r->health_path != NULL) {
        buffer_add_text(out, ", health_path: ");
        add_quoted(out, r->health_path);
    }
    buffer_add_text(out, "}\n");
}

static void add_price(buffer *out, const config_price *p)
{
    if (p->input > 0 || p->output > 0)
        buffer_add_format(out, "\n    price: {input: %.17g, output: %.17g}", p->input, p->output);
}

static void add_remote(buffer *out, const config_model *m, const char *role)
{
    const config_remote *r = &m->remote;
    buffer_add_text(out, "  - name: ");
    add_quoted(out, m->name);
    add_text_key(out, "role", role);
    add_price(out, &m->price);
    if (r->replicas.n == 0)
        add_text_key(out, "url", r->url);
    add_urls(out, "replicas", &r->replicas);
    add_urls(out, "lookup_replicas", &r->lookup_replicas);
    add_text_key(out, "model", r->model);
    add_text_key(out, "key_env", r->key_env);
    add_text_key(out, "key_file", r->key_file);
    add_text_key(out, "ca_file", r->ca_file);
    add_text_key(out, "fields", r->fields);
    buffer_add_format(out,
                      "\n    context: %u\n    connect_ms: %u\n    first_byte_ms: %u\n    "
                      "idle_ms: %u\n",
                      m->context, r->connect_ms, r->first_byte_ms, r->idle_ms);
    if (r->replicas.n > 0)
        add_pool(out, r);
}

static void add_model(buffer *out, const config_model *m, const char *role)
{
    if (m->path == NULL) {
        add_remote(out, m, role);
        return;
    }
    static const char *const kv[] = {[CONFIG_KV_F16] = "f16",
                                     [CONFIG_KV_F32] = "f32",
                                     [CONFIG_KV_Q8_0] = "q8_0",
                                     [CONFIG_KV_Q4] = "q4"};
    char *path = realpath(m->path, NULL);
    buffer_add_text(out, "  - name: ");
    add_quoted(out, m->name);
    add_text_key(out, "role", role);
    add_price(out, &m->price);
    buffer_add_text(out, "\n    path: ");
    hub_name name; /* which stays one: the hub's folders are nobody's to write down */
    bool is_name = path == NULL && hub_name_parse(&name, m->given);
    add_quoted(out, path != NULL ? path : is_name ? m->given : m->path);
    free(path);
    if (m->chat_template != NULL) {
        buffer_add_text(out, "\n    chat_template: ");
        add_quoted(out, m->chat_template);
    }
    if (m->requant != NULL) {
        buffer_add_text(out, "\n    requant: ");
        add_quoted(out, m->requant);
    }
    buffer_add_format(out, "\n    context: %u\n    slots: %u\n    parked: %u\n    kv: %s\n",
                      m->context, m->slots, m->parked, kv[m->kv]);
}

/* Absolute, where the file is there: the result may lie anywhere. */
static void add_file(buffer *out, const char *key, const char *path)
{
    char *whole = realpath(path, NULL);
    buffer_add_format(out, "  %s: ", key);
    add_quoted(out, whole != NULL ? whole : path);
    buffer_add_text(out, "\n");
    free(whole);
}

/* What a learned probe does not read, which is refused. */
static void add_question(buffer *out, const config_probe *p)
{
    buffer_add_text(out, "  template: ");
    add_quoted(out, p->template);
    buffer_add_format(out, "\n  window_head: %u\n  window_tail: %u\n", p->window_head,
                      p->window_tail);
}

/* All of it that decides: the rules were found with what this probe said. */
static void add_probe(buffer *out, const config *c)
{
    const config_probe *p = &c->probe;
    bool is_learned = p->kind == CONFIG_PROBE_LEARNED;
    buffer_add_format(out, "probe:\n  kind: %s\n  model: ", is_learned ? "learned" : "tokens");
    add_quoted(out, c->models[p->model].name);
    buffer_add_text(out, "\n");
    if (!is_learned)
        add_question(out, p);
    buffer_add_text(out, "  labels:\n");
    for (uint32_t i = 0; i < p->n_labels; i++) {
        buffer_add_text(out, "    - name: ");
        add_quoted(out, p->labels[i].name);
        buffer_add_text(out, "\n");
        if (is_learned)
            continue;
        buffer_add_text(out, "      token: ");
        add_quoted(out, p->labels[i].token);
        buffer_add_text(out, "\n");
    }
    if (p->calibration != NULL)
        add_file(out, "calibration", p->calibration);
}

static void add_base(buffer *out, const config *c)
{
    buffer_add_format(out, "version: %d\nmodels:\n", CONFIG_VERSION);
    for (uint32_t i = 0; i < c->n_models; i++)
        add_model(out, &c->models[i], c->n_models == 2 ? config_role(c, i) : NULL);
    add_probe(out, c);
    if (c->engine.machine != NULL) {
        buffer_add_text(out, "engine:\n");
        add_file(out, "machine", c->engine.machine);
    }
}

/* ---- the command -------------------------------------------------------------------------- */

static error_code write_out(const char *path, const buffer *text, failure *fail)
{
    if (path != NULL)
        return whole_file_write(path, text->data, text->length, 0666, WHOLE_FILE_SYNCED, fail);
    return fwrite(text->data, 1, text->length, stdout) == text->length && fflush(stdout) == 0
               ? OK
               : failure_set(fail, ERR_IO, "cannot write to standard output: %s", strerror(errno));
}

static error_code tune(const tune_command *o, const char *path, failure *fail)
{
    json_t *results = NULL;
    config *c = NULL, *check = NULL;
    buffer text;
    /* As it was typed: a float's neighbour is not what a person means. */
    tune_options options = {.tolerance = round(1e4 * (double)o->tolerance) / 1e4,
                            .least = o->least};
    buffer_init(&text, (size_t)1 << 20);
    error_code code = replay_load(path, &results, fail);
    if (code == OK)
        code = config_load(&c, o->config, fail);
    if (code == OK) {
        add_base(&text, c);
        code = tune_rules(&text, json_object_get(results, "runs"), c, &options, fail);
    }
    if (code == OK)
        code = config_parse(&check, text.data, text.length, "the tuned configuration", fail);
    if (code == OK)
        code = write_out(o->output, &text, fail);
    buffer_free(&text);
    config_free(check);
    config_free(c);
    json_decref(results);
    return code;
}

int command_tune(int argc, char **argv)
{
    tune_command o;
    failure fail;
    error_code code = read_tune_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("tune", stdout);
        return 0;
    }
    if (code == OK)
        code = tune(&o, argv[optind], &fail);
    return code == OK ? 0 : command_failed("tune", &fail);
}
